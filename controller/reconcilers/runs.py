"""Bring runs closer to their end: one read for all, a diff each, one write for all, one batch of messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import structlog

from controller.actions import Close, EndRun, Event, Plan, Postpone, Redeliver, RequestCancel, Send, TaskKey
from controller.diff.attempts import SEND_WITHIN, LiveAttempt, QueueEvidence
from controller.diff.rules import Upstream
from controller.diff.runs import BackedOff, Candidate, RunView, diff
from controller.reconcilers import counting, endings, slots
from controller.runtime.keys import Key, Kind, Wake
from controller.runtime.loop import Result
from controller.runtime.traces import ENDINGS
from controller.store import attempts, events, notifications, pools, runs, task_runs
from controller.store.connect import after_commit
from controller.store.revisions import Revision, RevisionId, Revisions
from controller.store.slots import limited_pools
from crds.names import AttemptId, DagUid, RunUid
from crds.phases import RunPhase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import psycopg
    from psycopg_pool import ConnectionPool

    from controller.reconcilers.sender import Sender
    from controller.runtime.clock import Clock
    from controller.store.attempts import Slot
    from controller.store.runs import RunRow
    from controller.store.task_runs import Counted

log = structlog.get_logger()
OfRun = TypeVar("OfRun", Candidate, BackedOff, LiveAttempt)
BUSY_AGAIN = timedelta(milliseconds=50)
"""When to look again at a run that someone else had locked."""
MAX_CASCADE = 20
"""How many steps of skipped or failed tasks below each other one pass follows."""


@dataclass(slots=True)
class Advance:
    """What a pass over runs leaves to be done after COMMIT."""

    sends: list[Send] = field(default_factory=list)
    chosen: list[Slot] = field(default_factory=list)
    """The tasks that get free slots; the caller creates their attempts in the same transaction."""
    wakes: set[Key] = field(default_factory=set)
    results: dict[RunUid, Result] = field(default_factory=dict)
    acted: int = 0


class RunReconciler:
    """Keys are runs, and pools in which a slot fell free."""

    def __init__(
        self, database: ConnectionPool, clock: Clock, revisions: Revisions, sender: Sender, wake: Wake
    ) -> None:
        self._database = database
        self._clock = clock
        self._revisions = revisions
        self._sender = sender
        self._wake = wake

    def reconcile(self, keys: Sequence[Key]) -> Mapping[Key, Result]:
        """Bring each run one step closer to its end, and give free slots to ready tasks."""
        wanted = [RunUid(k.uid) for k in keys if k.kind is Kind.RUN]
        freed = {k.uid for k in keys if k.kind is Kind.SLOTS}
        with self._database.connection() as connection, connection.pipeline():
            rows = runs.lock(connection, wanted)
            now = self._clock.now(connection)
            done = advance(connection, self._revisions, wanted, rows.get(), freed, now)
            created = slots.create(connection, done.chosen, now)
            connection.commit()
            sends = [*done.sends, *created.get()]
        self._sender.send(sends)
        self._wake(done.wakes)
        if done.acted or sends:
            log.info("reconciled", controller="runs", keys=len(keys), actions=done.acted, sends=len(sends))
        return {Key(Kind.RUN, uid): result for uid, result in done.results.items()}


def advance(
    connection: psycopg.Connection,
    revisions: Revisions,
    wanted: Sequence[RunUid],
    rows: Mapping[RunUid, RunRow],
    freed: Iterable[str],
    now: datetime,
) -> Advance:
    """Observe, diff and act on the locked `rows` of the wanted runs within the caller's transaction, best in a pipeline."""
    done = Advance()
    touched = set(freed)
    missing = [uid for uid in wanted if uid not in rows]
    if missing:
        for uid in runs.unfinished(connection, missing):
            done.results[uid] = Result(BUSY_AGAIN)
    if rows:
        held = task_runs.hold(connection, [u for u, row in rows.items() if row.suspend], suspended=True)
        released = task_runs.hold(
            connection, [u for u, row in rows.items() if row.holds and not row.suspend], suspended=False
        )
        limited = limited_pools(connection, [row.dag_uid for row in rows.values() if row.limited])
        open_ = list(rows)
        for step in range(MAX_CASCADE):
            open_, pools_ = _pass(connection, revisions, {u: rows[u] for u in open_}, now, done)
            touched |= pools_
            if not open_:
                break
            if step == MAX_CASCADE - 1:
                done.wakes |= {Key(Kind.RUN, uid) for uid in open_}
        touched |= held.get() | released.get() | limited.get()
    done.chosen = slots.choose(connection, revisions, touched, now)
    done.acted += len(done.sends)
    return done


def _pass(
    connection: psycopg.Connection,
    revisions: Revisions,
    rows: Mapping[RunUid, RunRow],
    now: datetime,
    done: Advance,
) -> tuple[list[RunUid], set[str]]:
    """Make one pass; return the runs in which a task ended by it, and the pools to fill."""
    views, live, pools_of = _observe(connection, revisions, rows, now)
    queues = _evidence(connection, live.values(), now)
    plans = {uid: diff(view, queues, now) for uid, view in views.items()}
    touched, closed = _act(connection, revisions, rows, live, plans, now, done)
    touched |= {pools_of[step.key] for plan in plans.values() for step in plan.tasks}
    for uid, plan in plans.items():
        if plan.end is None and plan.wake_at is not None:
            done.results[uid] = Result(max(plan.wake_at - now, timedelta(0)))
    return _cascading(plans, closed), touched


def _observe(
    connection: psycopg.Connection,
    revisions: Revisions,
    rows: Mapping[RunUid, RunRow],
    now: datetime,
) -> tuple[dict[RunUid, RunView], dict[AttemptId, LiveAttempt], dict[TaskKey, str]]:
    uids = list(rows)
    cancelled = [uid for uid, row in rows.items() if row.cancel_reason is not None]
    # All of them go out before the first is read.
    waiting = task_runs.count_ended(connection, uids)
    backoffs = task_runs.backed_off(connection, [uid for uid, row in rows.items() if row.backs_off])
    due = attempts.due(connection, uids, cancelled, now)
    counts = task_runs.tallies(connection, uids)
    counted, backed_off, live, tallies = waiting.get(), backoffs.get(), due.get(), counts.get()
    ids = {c.key.run: RevisionId(rows[c.key.run].dag_uid, rows[c.key.run].revision) for c in counted}
    specs = revisions.read(connection, set(ids.values()))
    candidates = _by_run(_candidate(specs[ids[c.key.run]], c) for c in counted)
    backing = _by_run(b for b, _ in backed_off)
    living = _by_run(live)
    views = {
        uid: RunView(
            uid,
            row.phase,
            row.deadline,
            row.cancel_reason,
            tuple(candidates.get(uid, ())),
            tuple(backing.get(uid, ())),
            tuple(living.get(uid, ())),
            tallies.get(uid),
        )
        for uid, row in rows.items()
    }
    pools_of = {c.key: c.pool for c in counted} | {b.key: pool for b, pool in backed_off}
    return views, {a.id: a for a in live}, pools_of


def _candidate(revision: Revision, counted: Counted) -> Candidate:
    task = revision.tasks[counted.key.task]
    unfinished = len(task.needs) - counted.succeeded - counted.failed - counted.skipped
    return Candidate(counted.key, task.when, Upstream(unfinished, counted.succeeded, counted.failed, counted.skipped))


def _by_run(members: Iterable[OfRun]) -> dict[RunUid, list[OfRun]]:
    found: dict[RunUid, list[OfRun]] = {}
    for member in members:
        found.setdefault(member.key.run, []).append(member)
    return found


def _evidence(connection: psycopg.Connection, live: Iterable[LiveAttempt], now: datetime) -> dict[str, QueueEvidence]:
    late = sorted({a.pool for a in live if a.sent_at is not None and a.next_check_at <= now})
    if not late:
        return {}
    return pools.evidence(connection, late, attempts.newest_claimed(connection, late))


def _act(
    connection: psycopg.Connection,
    revisions: Revisions,
    rows: Mapping[RunUid, RunRow],
    live: Mapping[AttemptId, LiveAttempt],
    plans: Mapping[RunUid, Plan],
    now: datetime,
    done: Advance,
) -> tuple[set[str], set[RunUid]]:
    """Write the plans; return the pools to fill, and the runs of which a task was closed."""
    actions = [action for plan in plans.values() for action in plan.attempts]
    closes = [a for a in actions if isinstance(a, Close)]
    redeliver = [a for a in actions if isinstance(a, Redeliver)]
    sends = [a for a in actions if isinstance(a, Send)]

    runs.exceed(connection, [uid for uid, plan in plans.items() if plan.deadline_exceeded], now)
    touched = endings.close(connection, revisions, live, closes, now)
    closed = {live[c.attempt].key.run for c in closes}
    steps = [step for plan in plans.values() for step in plan.tasks]
    task_runs.step(connection, steps, now)
    for phases in {plan.cancel for plan in plans.values() if plan.cancel}:
        closed |= task_runs.cancel(connection, [u for u, p in plans.items() if p.cancel == phases], phases, now)
    attempts.request_cancel(connection, [a for a in actions if isinstance(a, RequestCancel)], now)
    attempts.postpone(connection, [a for a in actions if isinstance(a, Postpone)])
    attempts.again(connection, [s.attempt for s in sends], now, SEND_WITHIN)
    done.sends += sends
    done.sends += attempts.redeliver(connection, redeliver, now, SEND_WITHIN)
    _end(connection, rows, [plan.end for plan in plans.values() if plan.end is not None], now, done)
    _tell(connection, rows, live, redeliver, now)
    done.acted += len(actions) + len(steps)
    return touched, closed


def _end(
    connection: psycopg.Connection,
    rows: Mapping[RunUid, RunRow],
    ends: Sequence[EndRun],
    now: datetime,
    done: Advance,
) -> None:
    ended = runs.end(connection, ends, now)
    ENDINGS.of_runs(ended)
    notifications.runs_ended(connection, list(ended), now)
    after_commit(connection, lambda: counting.runs_ended(rows, ends, ended, now))
    # A run that ends makes room for the next one of its DAG.
    done.wakes |= {Key(Kind.DAG, DagUid(dag)) for dag in ended.values()}
    done.acted += len(ended)
    told = [
        Event(
            "Normal" if e.phase is RunPhase.SUCCEEDED else "Warning",
            rows[e.run].namespace,
            "DagRun",
            rows[e.run].name,
            e.reason,
            f"run is {e.phase}{': ' + e.message if e.message else ''}",
            e.run,
        )
        for e in ends
        if e.run in ended
    ]
    events.record(connection, told, now)


def _tell(
    connection: psycopg.Connection,
    rows: Mapping[RunUid, RunRow],
    live: Mapping[AttemptId, LiveAttempt],
    redeliver: Sequence[Redeliver],
    now: datetime,
) -> None:
    told = []
    for gone in redeliver:
        key = live[gone.attempt].key
        row = rows[key.run]
        text = f"the message of delivery {gone.delivery} is gone from the queue; sent again as delivery {gone.delivery + 1}"
        told.append(Event("Warning", row.namespace, "TaskRun", f"{row.name}.{key.task}", gone.reason, text, key.run))
    events.record(connection, told, now)


def _cascading(plans: Mapping[RunUid, Plan], closed: set[RunUid]) -> list[RunUid]:
    """Return the runs to look at again at once: a task ended in them, so tasks below it may go on, or the run may end."""
    again: set[RunUid] = set()
    for uid, plan in plans.items():
        ended = [s for s in plan.tasks if s.phase.value in {"Skipped", "UpstreamFailed"}]
        if plan.end is None and (ended or uid in closed):
            again.add(uid)
    return sorted(again)
