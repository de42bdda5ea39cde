"""Table attempt: one try of a task, claimed once by compare-and-set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from controller.actions import Close, Postpone, Redeliver, RequestCancel, Send, TaskKey
from controller.diff.attempts import CLAIM_WITHIN, LiveAttempt
from controller.store.later import Known, Later
from controller.store.recordset import interval, recordset
from crds.names import AttemptId, RunUid, attempt_id
from crds.phases import AttemptPhase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    import psycopg

    from controller.store.revisions import RevisionId

# Only what can need something: not yet sent, late, or of a run that is being cancelled.
_DUE: LiteralString = """
    SELECT id, run_uid, task, idx, pool_uid, phase, delivery, checks, next_check_at, queue_by, sent_at, cancel_at, worker
      FROM attempt
     WHERE run_uid = ANY(%(runs)s) AND ended_at IS NULL
       AND (next_check_at <= %(now)s OR queue_by <= %(now)s AND phase IN ('Pending', 'Queued')
            OR run_uid = ANY(%(cancelled)s))
     ORDER BY id
       FOR NO KEY UPDATE SKIP LOCKED
"""

_BY_ID: LiteralString = """
    SELECT id, run_uid, task, idx, pool_uid, phase, delivery, checks, next_check_at, queue_by, sent_at, cancel_at, worker,
           dead_letters
      FROM attempt
     WHERE id = ANY(%(ids)s) AND ended_at IS NULL
     ORDER BY id
       FOR NO KEY UPDATE SKIP LOCKED
"""

_DUE_RUNS: LiteralString = """
    SELECT DISTINCT run_uid FROM attempt WHERE ended_at IS NULL AND next_check_at <= %(now)s LIMIT %(limit)s
"""

# CASE has each task found by its key: a plain condition would fit the index of all that is ready.
_CREATE: LiteralString = """
    WITH admitted AS (
        UPDATE task_run
           SET phase = 'Active', number = task_run.number + 1, started_at = coalesce(task_run.started_at, %(now)s),
               reason = NULL, message = NULL
          FROM json_to_recordset(%(slots)s)
               AS slot(run_uid text, task text, idx int, number int, timeout interval, queue_timeout interval)
         WHERE task_run.run_uid = slot.run_uid AND task_run.task = slot.task AND task_run.idx = slot.idx
           AND CASE task_run.phase WHEN 'Ready' THEN NOT task_run.held AND task_run.number = slot.number END
     RETURNING task_run.*, slot.timeout, slot.queue_timeout
    )
    INSERT INTO attempt (id, run_uid, task, idx, number, dag_uid, pool_uid, phase, timeout, queue_by, next_check_at,
                         created_at)
    SELECT run_uid || '/' || task || '/' || idx || '/' || number, run_uid, task, idx, number, dag_uid, pool_uid, 'Pending',
           timeout, %(now)s + queue_timeout, %(now)s + %(send_within)s, %(now)s
      FROM admitted
 RETURNING id, pool_uid, delivery
"""

# Recording Queued applies only to the delivery that was sent, and only while nobody has claimed it. It is never waited
# for: a row that is locked is being claimed, or it is sent again by its deadline.
_QUEUED: LiteralString = """
    UPDATE attempt
       SET phase = 'Queued', sent_at = %(now)s, next_check_at = least(%(now)s + %(claim_within)s, queue_by)
      FROM (SELECT waiting.id
              FROM attempt waiting
              JOIN unnest(%(ids)s::text[], %(deliveries)s::int[]) AS sent(id, delivery) USING (id, delivery)
             WHERE waiting.phase IN ('Pending', 'Queued')
             ORDER BY waiting.id FOR NO KEY UPDATE OF waiting SKIP LOCKED) AS sent
     WHERE attempt.id = sent.id
"""

_REDELIVER: LiteralString = """
    UPDATE attempt
       SET delivery = attempt.delivery + 1, dead_letters = greatest(attempt.dead_letters, gone.dead_letters), checks = 0,
           sent_at = NULL, next_check_at = %(now)s + %(send_within)s
      FROM unnest(%(ids)s::text[], %(deliveries)s::int[], %(dead_letters)s::int[]) AS gone(id, delivery, dead_letters)
     WHERE attempt.id = gone.id AND attempt.delivery = gone.delivery AND attempt.phase IN ('Pending', 'Queued')
 RETURNING attempt.id, attempt.pool_uid, attempt.delivery
"""

_AGAIN: LiteralString = """
    UPDATE attempt SET next_check_at = %(now)s + %(send_within)s
     WHERE id = ANY(%(ids)s) AND phase IN ('Pending', 'Queued')
"""

# The next look finds them as never sent, and sends the same delivery.
_FORGET_SENT: LiteralString = """
    UPDATE attempt SET sent_at = NULL, next_check_at = now() WHERE phase IN ('Pending', 'Queued')
"""

_LOOK_SOONER: LiteralString = """
    UPDATE attempt SET next_check_at = sooner.until
      FROM (SELECT id, greatest(sent_at, empty_since) + %(evident)s AS until
              FROM attempt JOIN pool_observation USING (pool_uid)
             WHERE pool_uid = %(pool)s AND ended_at IS NULL AND phase = 'Queued'
               AND next_check_at > greatest(sent_at, empty_since) + %(evident)s AND empty_since IS NOT NULL
             ORDER BY id FOR NO KEY UPDATE OF attempt SKIP LOCKED) AS sooner
     WHERE attempt.id = sooner.id
"""

_POSTPONE: LiteralString = """
    UPDATE attempt SET checks = attempt.checks + 1, next_check_at = later.until
      FROM unnest(%(ids)s::text[], %(checks)s::int[], %(untils)s::timestamptz[]) AS later(id, checks, until)
     WHERE attempt.id = later.id AND attempt.checks = later.checks AND attempt.phase = 'Queued'
"""

_REQUEST_CANCEL: LiteralString = """
    UPDATE attempt SET cancel_at = %(now)s, next_check_at = stop.until
      FROM unnest(%(ids)s::text[], %(untils)s::timestamptz[]) AS stop(id, until)
     WHERE attempt.id = stop.id AND attempt.phase = 'Running' AND attempt.cancel_at IS NULL
"""

# The facts that the decision stood on are repeated, so a heartbeat or a report that came in between wins.
_CLOSE: LiteralString = """
    UPDATE attempt
       SET phase = closed.phase, reason = closed.reason, message = closed.message, ended_at = %(now)s
      FROM unnest(%(ids)s::text[], %(seen)s::text[], %(phases)s::text[], %(reasons)s::text[], %(messages)s::text[],
                  %(checks)s::timestamptz[])
           AS closed(id, seen, phase, reason, message, next_check_at)
     WHERE attempt.id = closed.id AND attempt.phase = closed.seen
       AND (closed.next_check_at IS NULL OR attempt.next_check_at = closed.next_check_at)
 RETURNING attempt.id
"""

# Looked up by the worker's end, not by who was ended just now: an attempt that was locked then is found by the next pass.
_ORPHANS: LiteralString = """
    SELECT attempt.id, attempt.run_uid, attempt.task, attempt.idx, attempt.pool_uid, attempt.phase, attempt.delivery,
           attempt.checks, attempt.next_check_at, attempt.queue_by, attempt.sent_at, attempt.cancel_at, attempt.worker,
           worker.reason, worker.message
      FROM attempt
      JOIN worker ON worker.id = attempt.worker AND worker.ended_at IS NOT NULL
     WHERE attempt.pool_uid = %(pool)s AND attempt.ended_at IS NULL
     ORDER BY attempt.id
       FOR NO KEY UPDATE OF attempt SKIP LOCKED
"""

_LEFT_OUT: LiteralString = """
    SELECT id, run_uid, task, idx, pool_uid, phase, delivery, checks, next_check_at, queue_by, sent_at, cancel_at, worker
      FROM attempt
     WHERE pool_uid = %(pool)s AND ended_at IS NULL AND worker IS NOT NULL AND missed >= 2
     ORDER BY id
       FOR NO KEY UPDATE SKIP LOCKED
"""

_NEWEST_CLAIMED: LiteralString = """
    SELECT pool_uid, max(sent_at) FROM attempt
     WHERE pool_uid = ANY(%(pools)s) AND ended_at IS NULL AND claimed_at IS NOT NULL AND sent_at IS NOT NULL
     GROUP BY pool_uid
"""


def due(
    connection: psycopg.Connection, runs: Sequence[RunUid], cancelled: Sequence[RunUid], now: datetime
) -> Later[list[LiveAttempt]]:
    """Lock and return the live attempts of runs that may need something."""
    rows = connection.execute(_DUE, {"runs": list(runs), "cancelled": list(cancelled), "now": now})
    return Later(rows, lambda found: [_live(r) for r in found])


def by_id(connection: psycopg.Connection, ids: Sequence[str]) -> dict[str, tuple[LiveAttempt, int]]:
    """Lock and return live attempts with their count of dead letters."""
    rows = connection.execute(_BY_ID, {"ids": list(ids)})
    return {r[0]: (_live(r), r[13]) for r in rows}


@dataclass(frozen=True, slots=True)
class Orphan:
    """A live attempt whose worker has ended, and why."""

    attempt: LiveAttempt
    reason: str
    message: str


def orphans(connection: psycopg.Connection, pool: str) -> list[Orphan]:
    """Lock and return the live attempts of a pool whose workers have ended."""
    return [Orphan(_live(r), r[13], r[14]) for r in connection.execute(_ORPHANS, {"pool": pool})]


def left_out(connection: psycopg.Connection, pool: str) -> list[LiveAttempt]:
    """Lock and return the attempts of a pool that two heartbeats of their workers in a row left out."""
    return [_live(r) for r in connection.execute(_LEFT_OUT, {"pool": pool})]


def due_runs(connection: psycopg.Connection, now: datetime, limit: int) -> list[RunUid]:
    """Return runs with an attempt past a deadline."""
    return [RunUid(r[0]) for r in connection.execute(_DUE_RUNS, {"now": now, "limit": limit})]


@dataclass(frozen=True, slots=True)
class Slot:
    """A task that gets a slot, at the attempt number that was seen."""

    key: TaskKey
    number: int
    pool: str
    revision: RevisionId
    timeout: timedelta
    queue_timeout: timedelta
    ready_at: datetime
    pool_name: str

    @property
    def attempt(self) -> AttemptId:
        """Return the id of the attempt that it gets."""
        return attempt_id(self.key.run, self.key.task, self.key.index, self.number + 1)


def create(
    connection: psycopg.Connection, slots: Sequence[Slot], now: datetime, send_within: timedelta
) -> Later[list[Send]]:
    """Write the intent: a Pending attempt for each ready task. Return the messages of those created."""
    if not slots:
        return Known([])
    wanted = (
        {
            "run_uid": s.key.run,
            "task": s.key.task,
            "idx": s.key.index,
            "number": s.number,
            "timeout": interval(s.timeout),
            "queue_timeout": interval(s.queue_timeout),
        }
        for s in slots
    )
    rows = connection.execute(_CREATE, {"slots": recordset(wanted), "now": now, "send_within": send_within})
    return Later(rows, lambda created: [Send(AttemptId(r[0]), r[1], r[2]) for r in created])


def queued(connection: psycopg.Connection, sent: Sequence[tuple[AttemptId, int]], now: datetime) -> None:
    """Record the outcome of sending: (attempt, delivery) is in the queue."""
    connection.execute(
        _QUEUED,
        {
            "ids": [s[0] for s in sent],
            "deliveries": [s[1] for s in sent],
            "now": now,
            "claim_within": CLAIM_WITHIN,
        },
    )


def redeliver(
    connection: psycopg.Connection, gone: Sequence[Redeliver], now: datetime, send_within: timedelta
) -> list[Send]:
    """Count the next delivery of attempts whose message is gone; return their messages."""
    if not gone:
        return []
    rows = connection.execute(
        _REDELIVER,
        {
            "ids": [g.attempt for g in gone],
            "deliveries": [g.delivery for g in gone],
            "dead_letters": [g.dead_letters for g in gone],
            "now": now,
            "send_within": send_within,
        },
    )
    return [Send(AttemptId(r[0]), r[1], r[2]) for r in rows]


def forget_sent(connection: psycopg.Connection) -> None:
    """Take every unclaimed message as lost: for a system whose queues are known to be new and empty."""
    connection.execute(_FORGET_SENT)


def again(connection: psycopg.Connection, ids: Sequence[AttemptId], now: datetime, send_within: timedelta) -> None:
    """Give attempts that are being sent again their next deadline."""
    if ids:
        connection.execute(_AGAIN, {"ids": list(ids), "now": now, "send_within": send_within})


def look_sooner(connection: psycopg.Connection, pool: str, evident: timedelta) -> None:
    """Move the next look at a pool's queued attempts to when its empty queue has become evidence that they are lost.

    They may have been postponed while the queue held something, by more than their messages' loss should cost.
    """
    connection.execute(_LOOK_SOONER, {"pool": pool, "evident": evident})


def postpone(connection: psycopg.Connection, later: Sequence[Postpone]) -> None:
    """Move the next look at queued attempts."""
    if later:
        values = {
            "ids": [p.attempt for p in later],
            "checks": [p.checks for p in later],
            "untils": [p.until for p in later],
        }
        connection.execute(_POSTPONE, values)


def request_cancel(connection: psycopg.Connection, stops: Sequence[RequestCancel], now: datetime) -> None:
    """Have running attempts told to stop by their worker's next heartbeat."""
    if stops:
        values = {"ids": [s.attempt for s in stops], "untils": [s.until for s in stops], "now": now}
        connection.execute(_REQUEST_CANCEL, values)


def close(connection: psycopg.Connection, closes: Sequence[Close], now: datetime) -> set[AttemptId]:
    """End attempts that are still as they were seen; return those."""
    if not closes:
        return set()
    rows = connection.execute(
        _CLOSE,
        {
            "ids": [c.attempt for c in closes],
            "seen": [c.seen for c in closes],
            "phases": [c.phase for c in closes],
            "reasons": [c.reason for c in closes],
            "messages": [c.message or None for c in closes],
            "checks": [c.deadline_seen for c in closes],
            "now": now,
        },
    )
    return {AttemptId(r[0]) for r in rows}


def newest_claimed(connection: psycopg.Connection, pools: Sequence[str]) -> dict[str, datetime]:
    """Return when the newest message had been sent that a pool's workers claimed and still work on."""
    rows = connection.execute(_NEWEST_CLAIMED, {"pools": list(pools)})
    return {r[0]: r[1] for r in rows}


def _live(r: Sequence[Any]) -> LiveAttempt:
    return LiveAttempt(
        AttemptId(r[0]),
        TaskKey(RunUid(r[1]), r[2], r[3]),
        r[4],
        AttemptPhase(r[5]),
        r[6],
        r[7],
        r[8],
        r[9],
        r[10],
        r[11],
        r[12],
    )
