"""Bring runs closer to their end: one read for all, a diff each, one write for all, one batch of messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from controller.actions import Close, EndRun, Event, Plan, Postpone, Redeliver, RequestCancel, Send
from controller.diff.attempts import SEND_WITHIN, LiveAttempt, QueueEvidence
from controller.diff.runs import Candidate, RunView, diff
from controller.reconcilers import endings, slots
from controller.runtime.keys import Key, Kind, Wake
from controller.runtime.loop import Result
from controller.store import attempts, events, pools, runs, task_runs
from controller.store.revisions import Revision, RevisionId, Revisions
from crds.names import AttemptId, DagUid, RunUid
from crds.phases import RunPhase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import psycopg
    from psycopg_pool import ConnectionPool

    from controller.reconcilers.sender import Sender
    from controller.runtime.clock import Clock
    from controller.store.runs import RunRow

log = structlog.get_logger()
BUSY_AGAIN = timedelta(milliseconds=50)
"""When to look again at a run that someone else had locked."""
MAX_CASCADE = 20
"""How many steps of skipped or failed tasks below each other one pass follows."""


@dataclass(slots=True)
class Advance:
    """What a pass over runs leaves to be done after COMMIT."""

    sends: list[Send] = field(default_factory=list)
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
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            done = advance(connection, self._revisions, wanted, freed, now)
        self._sender.send(done.sends)
        self._wake(done.wakes)
        if done.acted:
            log.info("reconciled", controller="runs", keys=len(keys), actions=done.acted, sends=len(done.sends))
        return {Key(Kind.RUN, uid): result for uid, result in done.results.items()}


def advance(
    connection: psycopg.Connection,
    revisions: Revisions,
    wanted: Sequence[RunUid],
    freed: Iterable[str],
    now: datetime,
) -> Advance:
    """Observe, diff and act on runs within the caller's transaction."""
    done = Advance()
    touched = set(freed)
    rows = runs.lock(connection, wanted) if wanted else {}
    missing = [uid for uid in wanted if uid not in rows]
    if missing:
        for uid in runs.unfinished(connection, missing):
            done.results[uid] = Result(BUSY_AGAIN)
    if rows:
        touched |= task_runs.hold(connection, list(rows))
        open_ = list(rows)
        for step in range(MAX_CASCADE):
            open_, pools_ = _pass(connection, revisions, {u: rows[u] for u in open_}, now, done)
            touched |= pools_
            if not open_:
                break
            if step == MAX_CASCADE - 1:
                done.wakes |= {Key(Kind.RUN, uid) for uid in open_}
        touched |= slots.pools_of(connection, (row.dag_uid for row in rows.values()))
    done.sends += slots.fill(connection, revisions, touched, now)
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
    fresh = task_runs.fresh(connection, list(rows))
    views, live = _observe(connection, revisions, rows, bool(fresh), now)
    queues = _evidence(connection, live.values(), now)
    plans = {uid: diff(view, queues, now) for uid, view in views.items()}
    task_runs.settled(connection, fresh)
    touched = _act(connection, revisions, rows, live, plans, now, done)
    for uid, plan in plans.items():
        if plan.end is None and plan.wake_at is not None:
            done.results[uid] = Result(max(plan.wake_at - now, timedelta(0)))
    return _cascading(plans, touched[1]), touched[0]


def _observe(
    connection: psycopg.Connection,
    revisions: Revisions,
    rows: Mapping[RunUid, RunRow],
    any_fresh: bool,  # noqa: FBT001 - a fact of the snapshot
    now: datetime,
) -> tuple[dict[RunUid, RunView], dict[AttemptId, LiveAttempt]]:
    uids = list(rows)
    cancelled = [uid for uid, row in rows.items() if row.cancel_reason is not None]
    candidates = task_runs.candidates(connection, uids) if any_fresh else []
    backed_off = task_runs.backed_off(connection, uids)
    live = attempts.due(connection, uids, cancelled, now)
    started = [uid for uid, row in rows.items() if row.phase is RunPhase.RUNNING]
    tallies = task_runs.tallies(connection, started) if started else {}
    specs = revisions.read(connection, {RevisionId(rows[k.run].dag_uid, rows[k.run].revision) for k, _ in candidates})

    def revision(row: RunRow) -> Revision:
        return specs[RevisionId(row.dag_uid, row.revision)]

    views = {
        uid: RunView(
            uid,
            row.phase,
            row.deadline,
            row.cancel_reason,
            tuple(Candidate(k, revision(row).tasks[k.task].when, up) for k, up in candidates if k.run == uid),
            tuple(b for b in backed_off if b.key.run == uid),
            tuple(a for a in live if a.key.run == uid),
            tallies.get(uid),
        )
        for uid, row in rows.items()
    }
    return views, {a.id: a for a in live}


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
    touched |= set(task_runs.step(connection, steps, now).values())
    for phases in {plan.cancel for plan in plans.values() if plan.cancel}:
        closed |= task_runs.cancel(connection, [u for u, p in plans.items() if p.cancel == phases], phases, now)
    attempts.request_cancel(connection, [a for a in actions if isinstance(a, RequestCancel)], now)
    attempts.postpone(connection, [a for a in actions if isinstance(a, Postpone)])
    attempts.again(connection, [s.attempt for s in sends], now, SEND_WITHIN)
    done.sends += sends
    done.sends += [Send(*s) for s in attempts.redeliver(connection, redeliver, now, SEND_WITHIN)]
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
