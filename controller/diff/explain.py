"""Why an object is as it is, in plain sentences."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from controller.diff.freshness import fresh_until, within_of
from crds.phases import AttemptPhase, RunPhase, TaskPhase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from controller.observed import (
        ObservedDag,
        ObservedDataset,
        ObservedNotifier,
        ObservedPool,
        ObservedRun,
        ObservedTask,
        Stored,
    )

# The most upstream tasks that one sentence names.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class PoolRoom:
    """How much of a pool is in use, and who works for it."""

    limit: int
    live: int
    workers: int
    desired: int | None = None
    max_tasks: int = 0
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class DagRoom:
    """How much of a DAG's concurrency is in use."""

    live_tasks: int = 0
    max_tasks: int | None = None
    active_runs: int = 0
    max_runs: int = 0
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a task's sentence needs beside the task itself."""

    now: datetime
    pools: Mapping[str, PoolRoom] = field(default_factory=dict)
    dag: DagRoom = DagRoom()
    tasks: Mapping[str, Sequence[ObservedTask]] = field(default_factory=dict)
    """The tasks of the same run, by name."""
    tries: Mapping[str, int] = field(default_factory=dict)
    """How often each task may be tried in all."""


def task(seen: ObservedTask, around: Surroundings) -> str:
    """Return one sentence on a task of a run."""
    match seen.phase:
        case TaskPhase.WAITING:
            return _waiting(seen, around)
        case TaskPhase.READY:
            return _ready(seen, around)
        case TaskPhase.BACKOFF:
            return _backoff(seen, around)
        case TaskPhase.ACTIVE:
            return _active(seen, around)
        case (
            TaskPhase.SUCCEEDED | TaskPhase.FAILED | TaskPhase.UPSTREAM_FAILED | TaskPhase.SKIPPED | TaskPhase.CANCELLED
        ):
            return _final(seen)
        case _:
            assert_never(seen.phase)


def run(seen: ObservedRun, dag: DagRoom, now: datetime) -> str:
    """Return one sentence on a run."""
    if seen.ended_at is not None:
        spent = f" after {span(seen.ended_at - (seen.started_at or seen.created_at))}"
        return f"{seen.phase}{spent}{_because(seen.reason, seen.message, seen.phase)}"
    if seen.cancel_at is not None:
        return f"is being cancelled since {span(now - seen.cancel_at)} ({seen.cancel_reason})"
    if seen.phase is RunPhase.PENDING:
        return _pending(seen, dag, now)
    counted = ", ".join(f"{n} {phase}" for phase, n in sorted(seen.tasks.items()))
    left = f"; its timeout is in {span(seen.deadline - now)}"
    if seen.suspend:
        return f"suspended ({counted}); setpoint resume run/{seen.name} lets it go on"
    return f"running since {span(now - (seen.started_at or seen.created_at))} ({counted}){left}"


def dag(stored: Stored, seen: ObservedDag, now: datetime) -> str:
    """Return one sentence on a DAG."""
    runs = f"{seen.active_runs} runs active, {seen.pending_runs} pending"
    if stored.spec.get("suspend"):
        return f"suspended: no run is created or admitted; {runs}; setpoint resume dag/{stored.name} lets it go on"
    if seen.next_tick is not None:
        when = f"next run at {seen.next_tick:%Y-%m-%dT%H:%M:%SZ}, in {span(seen.next_tick - now)}"
    else:
        when = "it has no schedule: its runs are triggered"
    last = f"; the last run, {seen.last_run}, is {seen.last_phase}" if seen.last_run else ""
    return f"{when}; {runs}{last}"


def pool(stored: Stored, seen: ObservedPool, room: PoolRoom) -> str:
    """Return one sentence on a worker pool."""
    state = "suspended: no task is admitted; " if room.suspended else ""
    if seen.desired is None:
        workers = f"{seen.workers} workers alive (no service is provisioned)"
    else:
        workers = f"{seen.workers} of {seen.desired} desired workers alive, at most {room.max_tasks}"
    waiting = seen.demand - seen.live
    dead = f"; {seen.dead_letters} messages in the dead-letter queue" if seen.dead_letters else ""
    queue = f"queue: {seen.visible} visible, {seen.in_flight} in flight"
    slots = f"{seen.live} of {room.limit} slots in use, {waiting} tasks wait for one"
    return f"{stored.name}: {state}{slots}; {workers}; {queue}{dead}"


def dataset(stored: Stored, seen: ObservedDataset, now: datetime) -> str:
    """Return one sentence on a dataset."""
    by = f" by {seen.last_run}" if seen.last_run else ""
    wrote = f"last written {span(now - seen.updated_at)} ago{by}" if seen.updated_at else "no task has written it yet"
    within = within_of(stored.spec.get("freshness"))
    if within is None:
        return f"{wrote}; it does not say how old it may grow (freshness.within)"
    until = fresh_until(within, stored.created_at, seen.updated_at)
    if now <= until:
        return f"{wrote}; fresh for another {span(until - now)}"
    return f"{wrote}; stale since {span(now - until)}, for it may be {span(within)} old"


def notifier(stored: Stored, seen: ObservedNotifier, now: datetime) -> str:
    """Return one sentence on a notifier."""
    sent = f"last sent {span(now - seen.sent_at)} ago" if seen.sent_at else "nothing was sent yet"
    waiting = f"{sent}; {seen.pending} messages wait"
    if seen.failures and seen.error_at is not None:
        return f"{waiting}; it failed {span(now - seen.error_at)} ago: {seen.error}"
    if seen.generation != stored.generation:
        return f"{waiting}; it was applied just now and is looked at within seconds"
    return waiting


def span(value: timedelta) -> str:
    """Return a span for people: its two largest units."""
    seconds = max(int(value.total_seconds()), 0)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def _waiting(seen: ObservedTask, around: Surroundings) -> str:
    upstream = [above for name in seen.needs for above in around.tasks.get(name, ()) if above.ended_at is None]
    if not upstream:
        return "waits to be looked at: all its upstream tasks have ended"
    shown = ", ".join(f"{above.task} ({_brief(above, around.now)})" for above in upstream[:_SHOWN])
    more = f" and {len(upstream) - _SHOWN} more" if len(upstream) > _SHOWN else ""
    return f"waits for upstream {shown}{more}"


def _brief(seen: ObservedTask, now: datetime) -> str:
    last = seen.last
    if seen.phase is not TaskPhase.ACTIVE or last is None:
        return seen.phase.value
    if last.claimed_at is None:
        return f"{last.phase}, attempt {last.number} since {span(now - last.created_at)}"
    return f"{last.phase}, attempt {last.number} on worker {last.worker} since {span(now - last.claimed_at)}"


def _ready(seen: ObservedTask, around: Surroundings) -> str:
    if seen.held:
        return f"ready, but its run is suspended; setpoint resume run/{seen.run} lets it go on"
    dag_room, room = around.dag, around.pools.get(seen.pool)
    if dag_room.max_tasks is not None and dag_room.live_tasks >= dag_room.max_tasks:
        used = f"{dag_room.live_tasks} of {dag_room.max_tasks} active tasks"
        return f"ready, waits for its DAG: {used} (concurrency.maxActiveTasks)"
    if room is None:
        return f"ready, but pool {seen.pool} does not exist any more"
    if room.suspended:
        return f"ready, but pool {seen.pool} is suspended"
    if room.live >= room.limit:
        return f"ready, waits for a slot in pool {seen.pool}: {room.live} of {room.limit} in use"
    waited = f" since {span(around.now - seen.ready_at)}" if seen.ready_at else ""
    return f"ready{waited}, a slot in pool {seen.pool} is free ({room.live} of {room.limit} in use)"


def _backoff(seen: ObservedTask, around: Surroundings) -> str:
    until = f"{seen.not_before:%H:%M:%S}" if seen.not_before else "soon"
    why = seen.message or seen.reason or "the last attempt failed"
    allowed = around.tries.get(seen.task)
    if seen.infrastructure_failures and not seen.user_failures:
        return f"backoff until {until} (lost {seen.infrastructure_failures} times to the infrastructure: {why})"
    used = f"{seen.user_failures} of {allowed} tries used" if allowed else f"{seen.user_failures} tries used"
    return f"backoff until {until} ({used}: {why})"


def _active(seen: ObservedTask, around: Surroundings) -> str:
    last = seen.last
    if last is None:
        return "its attempt is being created"
    number, now = f"attempt {last.number}", around.now
    match last.phase:
        case AttemptPhase.PENDING:
            return f"{number} is being sent to the queue since {span(now - last.created_at)}"
        case AttemptPhase.QUEUED:
            return f"{number} was queued {span(now - (last.sent_at or last.created_at))} ago, {_workers(seen, around)}"
        case AttemptPhase.RUNNING:
            stop = ", asked to stop" if last.cancel_at else ""
            return f"{number} runs on worker {last.worker} since {span(now - (last.claimed_at or now))}{stop}"
        case AttemptPhase.COMMITTED:
            return f"{number} has committed its results; its report is on its way"
        case _:
            return f"{number} ended as {last.phase}; its task is being moved on"


def _workers(seen: ObservedTask, around: Surroundings) -> str:
    room = around.pools.get(seen.pool)
    if room is None:
        return f"pool {seen.pool} does not exist any more"
    desired = room.max_tasks if room.desired is None else room.desired
    return f"pool {seen.pool} has {room.workers} of {desired} workers"


def _final(seen: ObservedTask) -> str:
    tries = f", {seen.last.number} attempts" if seen.last and seen.last.number > 1 else ""
    spent = ""
    if seen.started_at and seen.ended_at:
        spent = f" after {span(seen.ended_at - seen.started_at)}"
    return f"{seen.phase}{spent}{tries}{_because(seen.reason, seen.message, seen.phase)}"


def _pending(seen: ObservedRun, dag: DagRoom, now: datetime) -> str:
    waited = f"pending since {span(now - seen.created_at)}"
    if dag.suspended:
        return f"{waited}: DAG {seen.dag} is suspended; setpoint resume dag/{seen.dag} lets it go on"
    if dag.active_runs >= dag.max_runs:
        used = f"{dag.active_runs} of {dag.max_runs} active runs"
        return f"{waited}: DAG {seen.dag} has {used} (concurrency.maxActiveRuns)"
    return f"{waited}: DAG {seen.dag} has room, it will be admitted at the next look"


def _because(reason: str | None, message: str | None, phase: str) -> str:
    parts = [part for part in (reason if reason != phase else None, message) if part]
    return f": {', '.join(parts)}" if parts else ""
