"""What a worker pool needs: enough tasks for its demand, workers given up that fell silent, and surplus told to leave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from crds.protocol import HEARTBEAT_SECONDS, LEASE_SECONDS
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crds.names import WorkerId
    from crds.pool import WorkerPoolSpec

LEASE = timedelta(seconds=LEASE_SECONDS)
SILENT_AFTER = timedelta(seconds=2 * HEARTBEAT_SECONDS)
SCALE_IN_AFTER = timedelta(minutes=2)
"""Surplus is taken back only when demand has been lower this long, so that a chain of tasks keeps its worker."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker process that has not ended: its lease, its load, its ECS task."""

    id: WorkerId
    heartbeat_by: datetime
    renewed_at: datetime
    live: int
    drain: bool
    ecs_task: str | None = None


@dataclass(frozen=True, slots=True)
class StoppedTask:
    """What ECS says of a task that is not running any more."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why ECS starts no task; attempts wait for it, and nobody's budget is used."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool, its workers and its demand (admitted attempts that have not ended, and ready tasks)."""

    spec: WorkerPoolSpec
    demand: int
    visible: int
    desired: int | None
    """What the ECS service is set to; None where there is no service."""
    workers: tuple[WorkerView, ...]
    stopped: Mapping[str, StoppedTask]
    open_since: datetime
    busy_until: datetime | None
    """When demand last needed what is desired now."""
    running: int | None = None
    """How many tasks the service runs."""
    outdated: frozenset[str] = frozenset()
    """The ECS tasks of earlier deployments, while a newer one rolls out."""
    renewed: int = 0
    """How many tasks of the newest deployment run."""
    terminating: bool = False
    """The pool is being deleted, so that all of its workers shall go."""


@dataclass(frozen=True, slots=True)
class GoneWorker:
    """A worker given up; `renewed_at` is the heartbeat that was seen, so that one that came in between wins."""

    id: WorkerId
    renewed_at: datetime
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """Workers to give up, the count to set, who shall drain or no longer, and when to look again."""

    gone: tuple[GoneWorker, ...] = ()
    desired: int | None = None
    drain: tuple[WorkerId, ...] = ()
    undrain: tuple[WorkerId, ...] = ()
    stop: tuple[str, ...] = ()
    """ECS tasks that run on although their worker fell silent: it may be frozen, and holds the place of a live one."""
    wake_at: datetime | None = None


def diff(view: PoolView, now: datetime, *, scales: bool) -> PoolPlan:
    """Return what a pool needs now. `scales`: this controller sets the service's count (elsewhere AWS does)."""
    gone = _gone(view, now)
    left = [w for w in view.workers if w.id not in {g.id for g in gone}]
    desired, wake = _desired(view, now) if scales else (None, None)
    kept = 0 if view.terminating else view.desired if desired is None else desired
    drain, undrain = _drain(left, view, kept, now)
    wakes = [max(w.heartbeat_by, view.open_since + LEASE) for w in left]
    silent = {g.id for g in gone if g.reason is Reason.LEASE_EXPIRED}
    stop = tuple(w.ecs_task for w in view.workers if w.id in silent and w.ecs_task)
    return PoolPlan(gone, desired, drain, undrain, stop, min([*wakes, *([wake] if wake else [])], default=None))


def wanted(spec: WorkerPoolSpec, demand: int, visible: int) -> int:
    """Return how many tasks the demand asks for: ceil(demand / slots) within the pool's bounds.

    A visible message asks for one task even when nothing else is known (an attempt that a former leader sent).
    """
    if spec.suspend:
        return 0
    needed = -(-demand // spec.slots)
    if visible and not needed:
        needed = 1
    return min(max(needed, spec.min_tasks), spec.max_tasks)


def _gone(view: PoolView, now: datetime) -> tuple[GoneWorker, ...]:
    found: list[GoneWorker] = []
    for worker in view.workers:
        stopped = view.stopped.get(worker.ecs_task) if worker.ecs_task else None
        if stopped is not None:
            message = f"worker {worker.id}: {stopped.message}"
            found.append(GoneWorker(worker.id, worker.renewed_at, stopped.reason, message))
        # A lease counts only while heartbeats could arrive: a database or API outage loses nobody.
        elif max(worker.heartbeat_by, view.open_since + LEASE) <= now:
            silent = (now - worker.renewed_at).total_seconds()
            message = f"worker {worker.id} has not been heard for {silent:.0f} s"
            found.append(GoneWorker(worker.id, worker.renewed_at, Reason.LEASE_EXPIRED, message))
    return tuple(found)


def _desired(view: PoolView, now: datetime) -> tuple[int | None, datetime | None]:
    if view.desired is None:
        return None, None
    target = wanted(view.spec, view.demand, view.visible)
    if target > view.desired:
        return target, None
    if target == view.desired:
        return None, None
    if view.spec.suspend:
        return target, None
    if view.busy_until is not None and now < view.busy_until + SCALE_IN_AFTER:
        return None, view.busy_until + SCALE_IN_AFTER
    return target, None


def _drain(
    workers: Sequence[WorkerView], view: PoolView, desired: int | None, now: datetime
) -> tuple[tuple[WorkerId, ...], tuple[WorkerId, ...]]:
    """Return who shall start to drain and who shall stop: the surplus and who is replaced, least busy first."""
    if desired is None:
        return (), ()
    # A worker whose task is gone is known for a lease longer, and must not count against those that run.
    there = len(workers) if view.running is None else min(len(workers), view.running)
    surplus = max(there - desired, 0)
    # Whoever is silent may be gone already, and must not make a worker that is heard the surplus. Those that drain come next,
    # so that the choice does not wander from pass to pass; before them whoever a rollout replaces anyway.
    old = view.outdated
    order = sorted(
        workers, key=lambda w: (now - w.renewed_at < SILENT_AFTER, w.ecs_task not in old, not w.drain, w.live, w.id)
    )
    leaving = {w.id for w in order[:surplus]}
    # One leaves for each that has come: a deployment that starts nothing must not take the pool's workers.
    leaving |= {w.id for w in [w for w in order if w.ecs_task in old][: view.renewed]}
    drain = tuple(w.id for w in workers if w.id in leaving and not w.drain)
    return drain, tuple(w.id for w in workers if w.drain and w.id not in leaving)
