"""Bring worker pools to what they want: tasks for the demand, silent workers given up, surplus drained."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from controller.actions import Close, Event
from controller.diff import deletion
from controller.diff.pools import GoneWorker, PoolPlan, PoolView, StoppedTask, diff, wanted
from controller.errors import SetpointError
from controller.reconcilers import endings
from controller.runtime.keys import Key, Kind, Wake
from controller.runtime.loop import Result
from controller.store import attempts, events, pools, workers
from controller.store import deletion as removals
from crds.phases import AttemptPhase
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg
    from psycopg_pool import ConnectionPool

    from controller.aws.ecs import ServiceCounts, Services
    from controller.diff.attempts import LiveAttempt
    from controller.runtime.clock import Clock
    from controller.store.pools import Pool
    from controller.store.revisions import Revisions

log = structlog.get_logger()
LOOK_EVERY = timedelta(seconds=5)
DEMAND_LIMIT = 100_000
"""Up to how many ready tasks are counted as demand."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What ECS said of a pool's service and of its workers' tasks; nothing, if it did not answer."""

    counts: ServiceCounts | None = None
    answered: bool = True
    stopped: Mapping[str, StoppedTask] = field(default_factory=dict)
    outdated: frozenset[str] = frozenset()


class PoolReconciler:
    """Keys are pools."""

    def __init__(
        self,
        database: ConnectionPool,
        clock: Clock,
        revisions: Revisions,
        services: Services,
        wake: Wake,
        *,
        scales: bool,
    ) -> None:
        self._database = database
        self._clock = clock
        self._revisions = revisions
        self._services = services
        self._wake = wake
        self._scales = scales

    def reconcile(self, keys: Sequence[Key]) -> Mapping[Key, Result]:
        """Give up workers that fell silent, set each service's count, and tell the surplus to drain."""
        with self._database.connection() as connection:
            found = pools.read(connection, [k.uid for k in keys])
        results: dict[Key, Result] = {}
        for pool in found.values():
            wake_after = self._one(pool)
            results[Key(Kind.POOL, pool.uid)] = Result(min(wake_after, LOOK_EVERY))
        return results

    def _one(self, pool: Pool) -> timedelta:
        looked = self._look(pool)
        counts = looked.counts
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            view, plan = self._plan(connection, pool, looked, now)
            freed, runs = self._give_up(connection, pool, plan.gone, now)
            workers.drain(connection, plan.drain, drain=True)
            workers.drain(connection, plan.undrain, drain=False)
            self._observe(connection, pool, counts, view, now)
            if pool.terminating:
                self._let_go(connection, pool, looked, view, now)
            if plan.desired is not None and counts is not None:
                text = f"{counts.desired} → {plan.desired} tasks for a demand of {view.demand}"
                events.record(connection, [_event(pool, "Normal", Reason.SCALED, text)], now)
        self._wake({Key(Kind.SLOTS, p) for p in freed} | {Key(Kind.RUN, r) for r in runs})
        if plan.desired is not None:
            self._services.set_desired(pool.service, plan.desired)
        self._stop(plan.stop)
        if plan.gone or plan.desired is not None:
            log.info("reconciled", controller="pools", pool=pool.name, gone=len(plan.gone), desired=plan.desired)
        return LOOK_EVERY if plan.wake_at is None else max(plan.wake_at - now, timedelta(milliseconds=50))

    @staticmethod
    def _let_go(connection: psycopg.Connection, pool: Pool, looked: _Seen, view: PoolView, now: datetime) -> None:
        """Remove a pool that is being deleted once its workers and its service's tasks are gone."""
        counts = looked.counts
        tasks = 0 if counts is None else max(counts.desired, counts.running)
        plan = deletion.pool(pool.finalizers, workers=len(view.workers), tasks=tasks if looked.answered else None)
        removals.settle(connection, pool.uid, pool.finalizers, plan, now)

    def _stop(self, tasks: Sequence[str]) -> None:
        for task in tasks:
            try:
                self._services.stop(task, "its worker fell silent")
            except SetpointError as error:
                # The attempts are given up already; only the replacement waits for a person or for ECS itself.
                log.warning("ECS does not stop a silent worker", task=task, error=str(error))

    def _look(self, pool: Pool) -> _Seen:
        """Ask ECS; a function has no service, and a task that ECS does not name is not gone: its lease decides."""
        if pool.invoked:
            return _Seen()
        with self._database.connection() as connection:
            tasks = [w.ecs_task for w in workers.live(connection, pool.uid) if w.ecs_task]
        try:
            counts = self._services.counts(pool.service)
            stopped = self._services.stopped(tasks) if tasks else {}
            rollout = counts.rollout if counts is not None else None
            outdated = self._services.outdated(tasks, rollout) if tasks and rollout is not None else frozenset()
        except SetpointError as error:
            # Leases are judged without ECS: it only tells sooner.
            log.warning("ECS does not answer", pool=pool.name, error=str(error))
            return _Seen(answered=False)
        return _Seen(counts, stopped=stopped, outdated=outdated)

    def _plan(
        self,
        connection: psycopg.Connection,
        pool: Pool,
        looked: _Seen,
        now: datetime,
    ) -> tuple[PoolView, PoolPlan]:
        seen, counts = pools.seen(connection, pool.uid), looked.counts
        view = PoolView(
            pool.spec,
            pools.demand(connection, pool.uid, DEMAND_LIMIT),
            seen.visible,
            None if counts is None else counts.desired,
            tuple(workers.live(connection, pool.uid)),
            looked.stopped,
            workers.open_since(connection, now) or now,
            seen.busy_at,
            None if counts is None else counts.running,
            looked.outdated,
            0 if counts is None else counts.renewed,
            pool.terminating,
        )
        return view, diff(view, now, scales=self._scales)

    def _give_up(
        self, connection: psycopg.Connection, pool: Pool, gone: Sequence[GoneWorker], now: datetime
    ) -> tuple[set[str], set[str]]:
        ended = workers.end(connection, gone, now)
        orphans = attempts.orphans(connection, pool.uid)
        closes = [_lost(o.attempt, Reason(o.reason), o.message) for o in orphans]
        missing = attempts.left_out(connection, pool.uid)
        unknown = "worker {} does not know of it any more"
        closes += [_lost(a, Reason.MISSING_FROM_HEARTBEAT, unknown.format(a.worker)) for a in missing]
        known = {a.id: a for a in (*(o.attempt for o in orphans), *missing)}
        closes = list({c.attempt: c for c in closes}.values())
        freed = endings.close(connection, self._revisions, known, closes, now)
        told = [_event(pool, "Warning", g.reason, g.message or f"worker {g.id} is gone") for g in gone if g.id in ended]
        events.record(connection, told, now)
        return freed, {known[c.attempt].key.run for c in closes}

    def _observe(
        self,
        connection: psycopg.Connection,
        pool: Pool,
        counts: ServiceCounts | None,
        view: PoolView,
        now: datetime,
    ) -> None:
        needed = wanted(pool.spec, view.demand, view.visible)
        busy_at = now if counts is not None and needed >= counts.desired else None
        running, trouble = (counts.running, counts.trouble) if counts else (0, None)
        if trouble is not None and pools.seen(connection, pool.uid).trouble != trouble.reason:
            events.record(connection, [_event(pool, "Warning", trouble.reason, trouble.message)], now)
        desired = counts.desired if counts else None
        pools.observe_service(connection, pool.uid, desired, running, busy_at, now, trouble)


def _lost(attempt: LiveAttempt, reason: Reason, message: str) -> Close:
    if attempt.phase is AttemptPhase.COMMITTED:
        return Close(attempt.id, attempt.phase, AttemptPhase.SUCCEEDED, Reason.SUCCEEDED)
    if attempt.cancel_at is not None:
        return Close(attempt.id, attempt.phase, AttemptPhase.CANCELLED, Reason.CANCELLED, message)
    return Close(attempt.id, attempt.phase, AttemptPhase.LOST, reason, message)


def _event(pool: Pool, type_: str, reason: str, message: str) -> Event:
    return Event(
        "Warning" if type_ == "Warning" else "Normal",
        pool.namespace,
        "WorkerPool",
        pool.name,
        reason,
        message,
    )
