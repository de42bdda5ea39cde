"""What a DAG needs: runs for the ticks that have passed, and room for the runs that wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from crds.dag import Catchup, ConcurrencyPolicy, DagSpec, Schedule

if TYPE_CHECKING:
    from crds.names import RunUid

Ticks = Callable[[Schedule, datetime, datetime, int], Sequence[datetime]]
"""(schedule, after, until, limit) → the newest ticks in (after, until], at most `limit`, oldest first."""
NextTick = Callable[[Schedule, datetime], datetime]


@dataclass(frozen=True, slots=True)
class DagView:
    """A DAG and its runs that have not ended."""

    spec: DagSpec
    revision: int
    cursors: Mapping[str, datetime]
    running: tuple[RunUid, ...]
    """Admitted, oldest first."""
    pending: tuple[RunUid, ...]
    """Waiting for room, oldest first; at most as many as could be admitted."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that a tick asks for."""

    schedule: Schedule
    tick: datetime


@dataclass(frozen=True, slots=True)
class DagPlan:
    """What to create, admit and replace, the cursors to move, and when to look again."""

    create: tuple[NewRun, ...] = ()
    admit: tuple[RunUid, ...] = ()
    replace: tuple[RunUid, ...] = ()
    cursors: Mapping[str, datetime] = field(default_factory=dict)
    wake_at: datetime | None = None


def diff(view: DagView, ticks: Ticks, next_tick: NextTick, now: datetime) -> DagPlan:
    """Return what a DAG needs now. A suspended DAG creates and admits nothing; its ticks count as missed."""
    if view.spec.suspend:
        return DagPlan()
    create: list[NewRun] = []
    cursors: dict[str, datetime] = {}
    for schedule in view.spec.schedules:
        due = ticks(schedule, view.cursors.get(schedule.name, now), now, _most(schedule))
        wanted = _overlap(view, _wanted(schedule, due, now), already=len(create))
        create += [NewRun(schedule, tick) for tick in wanted]
        if due:
            cursors[schedule.name] = due[-1]

    replaces = bool(create) and view.spec.concurrency.policy is ConcurrencyPolicy.REPLACE
    replace = (*view.running, *view.pending) if replaces else ()
    room = view.spec.concurrency.max_active_runs - len(view.running)
    wake_at = min((next_tick(schedule, now) for schedule in view.spec.schedules), default=None)
    admit = () if replaces else view.pending[: max(room, 0)]
    return DagPlan(tuple(create), admit, replace, cursors, wake_at)


def _most(schedule: Schedule) -> int:
    return schedule.max_catchup if schedule.catchup is Catchup.ALL else 1


def _wanted(schedule: Schedule, due: Sequence[datetime], now: datetime) -> Sequence[datetime]:
    """Return the ticks that become runs: the starting deadline, then the catch-up rule."""
    if schedule.starting_deadline is not None:
        due = [tick for tick in due if now - tick <= schedule.starting_deadline]
    match schedule.catchup:
        case Catchup.ALL | Catchup.LATEST:
            return due
        case Catchup.NONE:
            return [tick for tick in due if now - tick <= ON_TIME]


ON_TIME = timedelta(seconds=60)
"""A tick seen within this is on time, so that `catchup: none` still starts it."""


def _overlap(view: DagView, wanted: Sequence[datetime], *, already: int) -> Sequence[datetime]:
    match view.spec.concurrency.policy:
        case ConcurrencyPolicy.ALLOW:
            return wanted
        case ConcurrencyPolicy.FORBID:
            return () if view.running or view.pending or already else wanted[-1:]
        case ConcurrencyPolicy.REPLACE:
            return wanted[-1:]
