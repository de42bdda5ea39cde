"""What the worker's child process gives an operator, and what an operator gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crds.login import DatabaseAuth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from obstore.store import ObjectStore

    from crds.protocol import DatasetWrite


@dataclass(frozen=True, slots=True)
class Services:
    """What an operator may use; built inside the child process."""

    objects: ObjectStore
    objects_url: str
    hot: str | None
    secrets: Callable[[str], str]
    bundle: Path | None
    workdir: Path
    progress: Callable[[int, str], None]
    hot_auth: DatabaseAuth = DatabaseAuth.PASSWORD
    step: Callable[[str], object] = str
    """Called with the name of what begins; the default tells nobody."""


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt succeeded. `writes`: files still to be recorded; `committed`: the fence has done all."""

    outputs: dict[str, Any] = field(default_factory=dict)
    writes: list[DatasetWrite] = field(default_factory=list)
    bookmark: Any = None
    metrics: dict[str, float] = field(default_factory=dict)
    committed: bool = False


class TaskFailed(Exception):
    """Say why a task failed: `kind` is the class that `retries` matches, `reason` one of crds.reasons."""

    def __init__(self, kind: str, message: str, reason: str = "UserError") -> None:
        super().__init__(message)
        self.kind = kind
        self.reason = reason


class StaleFence(Exception):
    """The attempt was superseded: nothing of it was written, and nothing is to be reported."""
