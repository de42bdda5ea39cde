"""Bring DAGs to what they want: a run for each tick, and as many runs admitted as may be active."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from controller.actions import Event
from controller.diff import deletion
from controller.diff.dags import DagPlan, DagView, NewRun, diff
from controller.runtime.keys import Key, Kind, Wake
from controller.runtime.loop import Result
from controller.store import dags, datasets, events, pools, runs, task_runs
from controller.store import deletion as removals
from controller.store.revisions import Revision, RevisionId, Revisions
from controller.store.runs import NewRow
from controller.store.task_runs import NewTask
from crds import cron
from crds.names import RunUid, schedule_key
from crds.params import complete
from crds.phases import RunPhase, TaskPhase
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg
    from psycopg_pool import ConnectionPool

    from controller.runtime.clock import Clock
    from controller.runtime.ids import Ids
    from controller.store.dags import DagRow
    from crds.dag import Schedule

log = structlog.get_logger()
BUSY_AGAIN = timedelta(milliseconds=50)
"""When to look again at a DAG of which someone else had locked a run."""
WAITING_LIMIT = 1_000
"""The most runs of a DAG that one pass admits: it looks at so many beyond those that may be active."""


DELETE_BATCH = 100
"""How many ended runs of a Dag that is being deleted one pass deletes."""


@dataclass(slots=True)
class _Done:
    wakes: set[Key]
    created: int = 0
    admitted: int = 0


class DagReconciler:
    """Keys are DAGs."""

    def __init__(self, database: ConnectionPool, clock: Clock, revisions: Revisions, ids: Ids, wake: Wake) -> None:
        self._database = database
        self._clock = clock
        self._revisions = revisions
        self._ids = ids
        self._wake = wake

    def reconcile(self, keys: Sequence[Key]) -> Mapping[Key, Result]:
        """Create the runs of passed ticks and admit the runs that have room."""
        results: dict[Key, Result] = {}
        done = _Done(set())
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            for row in dags.lock(connection, [k.uid for k in keys]):
                plan = self._one(connection, row, now, done)
                if plan.wake_at is not None:
                    results[Key(Kind.DAG, row.uid)] = Result(max(plan.wake_at - now, timedelta(0)))
        self._wake(done.wakes)
        if done.created or done.admitted:
            log.info("reconciled", controller="dags", keys=len(keys), created=done.created, admitted=done.admitted)
        return results

    def _one(self, connection: psycopg.Connection, row: DagRow, now: datetime, done: _Done) -> DagPlan:
        if row.terminating:
            return _delete(connection, row, now, done)
        active = runs.active(connection, row.uid, row.spec.concurrency.max_active_runs + WAITING_LIMIT)
        view = DagView(
            row.spec,
            row.generation,
            dags.cursors(connection, row.uid),
            tuple(uid for uid, phase, _ in active if phase is RunPhase.RUNNING),
            tuple(uid for uid, phase, _ in active if phase is RunPhase.PENDING),
        )
        plan = diff(view, _newest_ticks, _next_tick, now)
        changed = [*plan.admit, *plan.replace]
        # Whoever fills slots locks runs, then DAGs. Here it is the other way round, so a run that is locked is not waited for.
        if changed and len(runs.lock(connection, changed).get()) < len(changed):
            return DagPlan(wake_at=now + BUSY_AGAIN)
        created = [uid for new in plan.create if (uid := self._create(connection, row, new, now)) is not None]
        dags.move_cursors(connection, row.uid, plan.cursors)
        for uid in runs.cancel(connection, plan.replace, Reason.REPLACED, now):
            done.wakes.add(Key(Kind.RUN, uid))
        waiting: set[str] = set()
        by_revision: dict[int, list[RunUid]] = {}
        for uid, _, generation in active:
            if uid in plan.admit:
                by_revision.setdefault(generation, []).append(uid)
        for generation, uids in by_revision.items():
            waiting |= self._admit(connection, row, uids, generation, now, done)
        problem = f"runs wait for pools that do not exist: {', '.join(sorted(waiting))}" if waiting else None
        if dags.observed(connection, row.uid, row.generation, problem, now):
            # A new spec may let more of the DAG's tasks be active.
            done.wakes |= {Key(Kind.SLOTS, uid) for uid in pools.read(connection)}
        if created:
            # They are admitted by the next pass, which sees them as pending.
            done.wakes.add(Key(Kind.DAG, row.uid))
            done.created += len(created)
        return plan

    def _create(self, connection: psycopg.Connection, row: DagRow, new: NewRun, now: datetime) -> RunUid | None:
        run = NewRow(
            uid=RunUid(self._ids.uid(now)),
            namespace=row.namespace,
            dag_uid=row.uid,
            dag=row.name,
            revision=row.generation,
            key=schedule_key(new.schedule.name, new.tick),
            trigger="schedule",
            schedule=new.schedule.name,
            tick=new.tick,
            params=complete(row.spec.params, new.schedule.params),
            labels={},
            deadline=now + row.spec.timeout,
            created_at=now,
        )
        if not runs.create(connection, run):
            return None
        text = f"schedule {new.schedule.name} ticked at {new.tick:%Y-%m-%d %H:%M} UTC"
        event = Event("Normal", row.namespace, "DagRun", run.name, Reason.CREATED, text, run.uid)
        events.record(connection, [event], now)
        return run.uid

    def _admit(
        self,
        connection: psycopg.Connection,
        row: DagRow,
        uids: Sequence[RunUid],
        generation: int,
        now: datetime,
        done: _Done,
    ) -> set[str]:
        """Let runs of one revision start; return the names of pools that they lack."""
        wanted = RevisionId(row.uid, generation)
        revision = self._revisions.read(connection, {wanted})[wanted]
        names = {revision.pool(task) for task in revision.tasks}
        known = pools.by_name(connection, row.namespace, sorted(names))
        if names - known.keys():
            return names - known.keys()
        pins = _pins(connection, row.namespace, revision)
        admitted = runs.admit(connection, uids, revision.spec.timeout, pins, now)
        tasks = [_task(revision, name, known[revision.pool(name)].uid) for name in revision.tasks]
        task_runs.create(connection, admitted, tasks, now)
        done.wakes |= {Key(Kind.RUN, uid) for uid in admitted}
        done.wakes |= {Key(Kind.SLOTS, t.pool_uid) for t in tasks if t.phase is TaskPhase.READY}
        done.admitted += len(admitted)
        return set()


def _delete(connection: psycopg.Connection, row: DagRow, now: datetime, done: _Done) -> DagPlan:
    """Bring a Dag that is being deleted closer to its end: its runs are cancelled, then deleted, then itself."""
    remains = removals.remains(connection, row.uid, row.finalizers, DELETE_BATCH)
    plan = deletion.diff(remains, now)
    # As above: who fills slots locks runs first.
    free = runs.lock(connection, plan.cancel).get()
    cancelled = runs.cancel(connection, list(free), Reason.CANCELLED, now)
    done.wakes |= {Key(Kind.RUN, uid) for uid in cancelled}
    removals.delete_runs(connection, plan.delete)
    removals.settle(connection, row.uid, row.finalizers, plan, now)
    # What could be deleted is followed at once by more of it.
    return DagPlan(wake_at=now if plan.delete else plan.wake_at)


def _task(revision: Revision, name: str, pool: str) -> NewTask:
    task = revision.tasks[name]
    priority = revision.spec.defaults.priority if task.priority is None else task.priority
    return NewTask(name, pool, TaskPhase.WAITING if task.needs else TaskPhase.READY, priority)


def _pins(connection: psycopg.Connection, namespace: str, revision: Revision) -> dict[str, int]:
    """Return the version of each cold dataset that the run reads, as it is now."""
    names = {i.dataset for t in revision.tasks.values() for i in t.inputs.values() if i.dataset is not None}
    if not names:
        return {}
    return {d.uid: d.version for d in datasets.by_name(connection, namespace, names).get().values() if d.cold}


def _next_tick(schedule: Schedule, after: datetime) -> datetime:
    return cron.next_tick(schedule.cron, schedule.timezone, after)


def _newest_ticks(schedule: Schedule, after: datetime, until: datetime, limit: int) -> Sequence[datetime]:
    """Return the newest ticks by looking back over windows that double, so that a long outage costs little."""
    window = timedelta(hours=1)
    while True:
        start = max(after, until - window)
        found = cron.ticks(schedule.cron, schedule.timezone, start, until, int(window / timedelta(minutes=1)) + 1)
        if len(found) >= limit or start == after:
            return found[-limit:]
        window *= 2
