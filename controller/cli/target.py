"""Which system the commands talk to: the environment, the nearest context file, or this machine."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from controller.cli.errors import CliError, Exit

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL = "http://127.0.0.1:8080"
CONTEXT_FILE = Path(".setpoint") / "context.json"


@dataclass(frozen=True, slots=True)
class Target:
    """The address of a dispatcher, and the token that it knows us by."""

    url: str
    token: str | None = None
    origin: str = "the default"
    """Where the address comes from, for error messages."""


def find_target(environment: Mapping[str, str] = os.environ, folder: Path | None = None) -> Target:
    """Return SETPOINT_URL and SETPOINT_TOKEN, or what the nearest .setpoint/context.json says."""
    url, token = environment.get("SETPOINT_URL"), environment.get("SETPOINT_TOKEN")
    if url:
        return Target(url.rstrip("/"), token, "SETPOINT_URL")
    context = _nearest_context(folder or Path.cwd())
    if context is None:
        return Target(DEFAULT_URL, token)
    found = _read(context)
    return Target(found.url, token or found.token, found.origin)


def _nearest_context(folder: Path) -> Path | None:
    here = folder.resolve()
    return next((p / CONTEXT_FILE for p in (here, *here.parents) if (p / CONTEXT_FILE).is_file()), None)


def _read(path: Path) -> Target:
    try:
        context = json.loads(path.read_text(encoding="utf-8"))
        return Target(str(context["url"]).rstrip("/"), context.get("token"), str(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CliError(f"{path} is no context file ({error}); delete it, or set SETPOINT_URL", Exit.USAGE) from error
