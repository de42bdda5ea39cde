"""Table attempt, as the worker protocol reads and writes it: claims and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.types.json import Jsonb

from controller.actions import TaskKey
from controller.store.later import Known, Later
from controller.store.recordset import recordset
from controller.store.revisions import RevisionId
from crds.names import AttemptId, DagUid, RunUid
from crds.phases import AttemptPhase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    import psycopg

_LOCK_FOR_CLAIM: LiteralString = """
    SELECT attempt.id, attempt.phase, attempt.request, attempt.worker, attempt.pool_uid, attempt.run_uid, attempt.task,
           attempt.idx, attempt.dag_uid, run.revision, run.namespace, run.cancel_at IS NOT NULL, attempt.created_at
      FROM attempt
      JOIN run ON run.uid = attempt.run_uid
     WHERE attempt.id = ANY(%(ids)s)
     ORDER BY attempt.id
       FOR NO KEY UPDATE OF attempt
"""

_WAITED_FOR: LiteralString = """
    SELECT uid FROM unnest(%(pools)s::text[]) AS pool(uid)
     WHERE EXISTS (SELECT FROM attempt WHERE pool_uid = pool.uid AND phase IN ('Pending', 'Queued'))
"""

_TAKEN: LiteralString = """
    SELECT attempt.id, attempt.request, attempt.worker, attempt.run_uid, attempt.task, attempt.idx, attempt.dag_uid,
           run.revision, attempt.number, run.namespace, run.name, run.dag, run.params, run.pins, run.tick,
           extract(epoch FROM attempt.timeout)::float8, bookmark.value
      FROM unnest(%(workers)s::text[], %(requests)s::text[]) AS asked(worker, request)
      JOIN attempt ON attempt.worker = asked.worker AND attempt.request = asked.request
                  AND attempt.ended_at IS NULL AND attempt.phase = 'Running'
      JOIN run ON run.uid = attempt.run_uid
      LEFT JOIN bookmark ON bookmark.dag_uid = attempt.dag_uid AND bookmark.task = attempt.task
     ORDER BY attempt.id
"""

_CLAIM: LiteralString = """
    UPDATE attempt
       SET phase = 'Running', worker = claimed.worker, request = claimed.request, token_hash = decode(claimed.token_hash, 'hex'),
           claimed_at = %(now)s, missed = 0, next_check_at = %(now)s + timeout + %(finish_grace)s
      FROM json_to_recordset(%(claims)s)
           AS claimed(id text, worker text, request text, token_hash text)
     WHERE attempt.id = claimed.id AND attempt.phase IN ('Pending', 'Queued')
 RETURNING attempt.id
"""


@dataclass(frozen=True, slots=True)
class AskedRow:
    """An attempt that a worker asks for, locked."""

    id: AttemptId
    phase: AttemptPhase
    request: str | None
    worker: str | None
    pool_uid: str
    key: TaskKey
    revision: RevisionId
    namespace: str
    cancelled: bool
    created_at: datetime


def lock_for_claim(connection: psycopg.Connection, ids: Sequence[str]) -> Later[dict[str, AskedRow]]:
    """Lock attempts in id order and return those that exist."""
    rows = connection.execute(_LOCK_FOR_CLAIM, {"ids": list(ids)})
    return Later(rows, lambda found: {row.id: row for row in map(_asked_row, found)})


def _asked_row(r: Sequence[Any]) -> AskedRow:
    key, revision = TaskKey(RunUid(r[5]), r[6], r[7]), RevisionId(DagUid(r[8]), r[9])
    return AskedRow(AttemptId(r[0]), AttemptPhase(r[1]), r[2], r[3], r[4], key, revision, *r[10:13])


def waited_for(connection: psycopg.Connection, pools: Iterable[str]) -> Later[set[str]]:
    """Return the pools in which attempts wait to be claimed."""
    wanted = sorted(pools)
    if not wanted:
        return Known(set())
    return Later(connection.execute(_WAITED_FOR, {"pools": wanted}), lambda rows: {r[0] for r in rows})


@dataclass(frozen=True, slots=True)
class ClaimedRow:
    """A running attempt, with what its grant needs of the run."""

    id: AttemptId
    request: str
    worker: str
    key: TaskKey
    revision: RevisionId
    number: int
    namespace: str
    run_name: str
    dag: str
    params: dict[str, Any]
    pins: dict[str, int]
    tick: datetime | None
    timeout_seconds: float
    bookmark: Any


def taken(connection: psycopg.Connection, asked: Iterable[tuple[str, str]]) -> Later[list[ClaimedRow]]:
    """Return the running attempts that each (worker, request) has claimed."""
    pairs = sorted(set(asked))
    if not pairs:
        return Known([])
    rows = connection.execute(_TAKEN, {"workers": [w for w, _ in pairs], "requests": [r for _, r in pairs]})
    return Later(rows, lambda found: [_claimed_row(r) for r in found])


def _claimed_row(r: Sequence[Any]) -> ClaimedRow:
    key, revision = TaskKey(RunUid(r[3]), r[4], r[5]), RevisionId(DagUid(r[6]), r[7])
    return ClaimedRow(AttemptId(r[0]), r[1], r[2], key, revision, *r[8:17])


@dataclass(frozen=True, slots=True)
class NewClaim:
    """A claim that is to be granted."""

    attempt: AttemptId
    worker: str
    request: str
    token_hash: bytes


def claim(connection: psycopg.Connection, claims: Sequence[NewClaim], now: datetime, finish_grace: timedelta) -> None:
    """Set claimed attempts Running; they are locked and were seen unclaimed."""
    if claims:
        rows = (
            {"id": c.attempt, "worker": c.worker, "request": c.request, "token_hash": c.token_hash.hex()}
            for c in claims
        )
        connection.execute(_CLAIM, {"claims": recordset(rows), "now": now, "finish_grace": finish_grace})


_LOCK_FOR_REPORT: LiteralString = """
    SELECT id, run_uid, task, idx, phase, token_hash, reported_at, committed_at IS NOT NULL, cancel_at IS NOT NULL,
           bookmark IS NOT NULL
      FROM attempt
     WHERE id = ANY(%(ids)s)
     ORDER BY id
       FOR NO KEY UPDATE
"""

_REPORT: LiteralString = """
    UPDATE attempt
       SET phase = ended.phase, reason = ended.reason, message = ended.message, error = ended.error,
           outputs = coalesce(attempt.outputs, ended.outputs), bookmark = coalesce(attempt.bookmark, ended.bookmark),
           versions = coalesce(attempt.versions, ended.versions), metrics = ended.metrics,
           reported_at = %(now)s, ended_at = %(now)s
      FROM json_to_recordset(%(outcomes)s)
           AS ended(id text, seen text, phase text, reason text, message text, error jsonb, outputs jsonb, bookmark jsonb,
                    versions jsonb, metrics jsonb)
     WHERE attempt.id = ended.id AND attempt.phase = ended.seen
 RETURNING attempt.id
"""

_APPLY_WRITES: LiteralString = "SELECT apply_writes(%(attempt)s, %(writes)s, %(now)s)"


@dataclass(frozen=True, slots=True)
class ReportRow:
    """An attempt that a worker reports on, locked."""

    id: AttemptId
    key: TaskKey
    phase: AttemptPhase
    token_hash: bytes | None
    reported_at: datetime | None
    committed: bool
    cancelling: bool
    bookmarked: bool
    """Its commit has left a bookmark."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a report ends an attempt."""

    attempt: AttemptId
    seen: AttemptPhase
    phase: AttemptPhase
    reason: str
    message: str
    error: Any
    outputs: Any
    bookmark: Any
    versions: Mapping[str, int] | None
    metrics: Any


def lock_for_report(connection: psycopg.Connection, ids: Sequence[str]) -> Later[dict[str, ReportRow]]:
    """Lock attempts in id order and return those that exist."""
    rows = connection.execute(_LOCK_FOR_REPORT, {"ids": list(ids)})
    return Later(rows, lambda found: {row.id: row for row in map(_report_row, found)})


def _report_row(r: Sequence[Any]) -> ReportRow:
    return ReportRow(AttemptId(r[0]), TaskKey(RunUid(r[1]), r[2], r[3]), AttemptPhase(r[4]), *r[5:10])


def report(connection: psycopg.Connection, outcomes: Sequence[Outcome], now: datetime) -> Later[set[AttemptId]]:
    """End attempts as their workers say; return those that ended by it."""
    if not outcomes:
        return Known(set())
    ends = (
        {
            "id": o.attempt,
            "seen": o.seen,
            "phase": o.phase,
            "reason": o.reason,
            "message": o.message or None,
            "error": o.error,
            "outputs": o.outputs,
            "bookmark": o.bookmark,
            "versions": o.versions,
            "metrics": o.metrics,
        }
        for o in outcomes
    )
    rows = connection.execute(_REPORT, {"outcomes": recordset(ends), "now": now})
    return Later(rows, lambda ended: {AttemptId(r[0]) for r in ended})


def apply_writes(connection: psycopg.Connection, attempt: AttemptId, writes: Any, now: datetime) -> dict[str, int]:
    """Record the cold files of a successful attempt; return dataset uid → version."""
    row = connection.execute(_APPLY_WRITES, {"attempt": attempt, "writes": Jsonb(writes), "now": now}).fetchone()
    versions: dict[str, int] = row[0] if row else {}
    return versions
