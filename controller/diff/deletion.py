"""What a resource needs that is being deleted: its runs or workers go first, then what holds it, then itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crds.names import RunUid

RUNS = "setpoint.dev/runs"
"""Holds a Dag until its runs have ended and are deleted."""
WORKERS = "setpoint.dev/workers"
"""Holds a WorkerPool until its workers are gone."""
OWN = frozenset({RUNS, WORKERS})
LOOK_AGAIN = timedelta(seconds=1)
"""When runs that end wake nobody."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of a Dag."""

    finalizers: tuple[str, ...] = ()
    running: tuple[RunUid, ...] = ()
    """Unfinished, and not asked to end."""
    ending: int = 0
    """How many are unfinished, and asked to end."""
    ended: tuple[RunUid, ...] = ()
    """Some of those that have ended."""


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """The runs to cancel and to delete, what holds the resource from now on, and whether it is removed."""

    cancel: tuple[RunUid, ...] = ()
    delete: tuple[RunUid, ...] = ()
    finalizers: tuple[str, ...] = ()
    remove: bool = False
    wake_at: datetime | None = None


def diff(remains: Remains, now: datetime) -> DeletionPlan:
    """Return what a Dag needs that is being deleted."""
    if RUNS not in remains.finalizers:
        return _let_go(remains.finalizers)
    if remains.running or remains.ending or remains.ended:
        return DeletionPlan(remains.running, remains.ended, remains.finalizers, wake_at=now + LOOK_AGAIN)
    return _let_go(without(remains.finalizers, RUNS))


def pool(finalizers: Sequence[str], *, workers: int, tasks: int | None) -> DeletionPlan:
    """Return what a pool needs that is being deleted; `tasks`: of its service, None if ECS did not answer."""
    if WORKERS not in finalizers:
        return _let_go(finalizers)
    if workers or tasks is None or tasks > 0:
        return DeletionPlan(finalizers=tuple(finalizers))
    return _let_go(without(finalizers, WORKERS))


def without(finalizers: Sequence[str], name: str) -> tuple[str, ...]:
    """Return the finalizers but one."""
    return tuple(f for f in finalizers if f != name)


def _let_go(finalizers: Sequence[str]) -> DeletionPlan:
    return DeletionPlan(finalizers=tuple(finalizers), remove=not finalizers)
