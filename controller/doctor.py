"""Examine a running system: what each check finds, and how to mend it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from crds.redaction import KNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEADLINE_SECONDS = 8.0
"""How long one check may take; all run side by side."""
MESSAGE_LIMIT = 500


class Status(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Suspicious(Exception):
    """It works, but a person should look at it."""


class Broken(Exception):
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at. `look` returns a sentence, or raises Suspicious, Broken or whatever else went wrong."""

    name: str
    look: Callable[[], str]
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `remedy` is empty if all is well."""

    name: str
    status: Status
    message: str
    remedy: str = ""


def examine(checks: Sequence[Check], within: float = DEADLINE_SECONDS) -> list[Finding]:
    """Return what all checks find, in their order; one that does not end in time has failed and harms no other."""
    found: dict[str, Finding] = {}

    def work(check: Check) -> None:
        found[check.name] = _look(check)

    threads = [
        threading.Thread(target=work, args=(check,), name=f"doctor {check.name}", daemon=True) for check in checks
    ]
    end = time.monotonic() + within
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    late = f"it did not answer within {within:g} s"
    return [found.get(check.name) or Finding(check.name, Status.FAILED, late, check.remedy) for check in checks]


def _look(check: Check) -> Finding:
    try:
        return Finding(check.name, Status.OK, check.look())
    except Suspicious as doubt:
        return Finding(check.name, Status.WARNING, _said(str(doubt)), check.remedy)
    except Broken as broken:
        return Finding(check.name, Status.FAILED, _said(str(broken)), check.remedy)
    except Exception as error:  # noqa: BLE001 - whatever it is, the person who asked must see it
        return Finding(check.name, Status.FAILED, _said(f"{type(error).__name__}: {error}"), check.remedy)


def _said(text: str) -> str:
    return KNOWN.clean(" ".join(text.split()))[:MESSAGE_LIMIT]
