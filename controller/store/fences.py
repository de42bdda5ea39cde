"""Table attempt, as the worker protocol reads and writes it: claims and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.types.json import Jsonb

from controller.actions import TaskKey
from crds.names import AttemptId, DagUid, RunUid
from crds.phases import AttemptPhase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    import psycopg

_LOCK_FOR_CLAIM: LiteralString = """
    SELECT attempt.id, attempt.phase, attempt.request, attempt.worker, attempt.pool_uid, attempt.run_uid, attempt.task,
           attempt.idx, attempt.number, attempt.dag_uid, run.revision, run.namespace, run.name, run.dag, run.params, run.pins,
           run.tick, extract(epoch FROM attempt.timeout)::float8, run.cancel_at IS NOT NULL, attempt.claimed_at,
           bookmark.value
      FROM attempt
      JOIN run ON run.uid = attempt.run_uid
      LEFT JOIN bookmark ON bookmark.dag_uid = attempt.dag_uid AND bookmark.task = attempt.task
     WHERE attempt.id = ANY(%(ids)s)
     ORDER BY attempt.id
       FOR NO KEY UPDATE OF attempt
"""

_CLAIM: LiteralString = """
    UPDATE attempt
       SET phase = 'Running', worker = claimed.worker, request = claimed.request, token_hash = claimed.token_hash,
           claimed_at = %(now)s, missed = 0, next_check_at = %(now)s + timeout + %(finish_grace)s
      FROM unnest(%(ids)s::text[], %(workers)s::text[], %(requests)s::text[], %(hashes)s::bytea[])
           AS claimed(id, worker, request, token_hash)
     WHERE attempt.id = claimed.id AND attempt.phase IN ('Pending', 'Queued')
 RETURNING attempt.id
"""


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """An attempt that a worker asks for, locked, with what its grant needs of the run."""

    id: AttemptId
    phase: AttemptPhase
    request: str | None
    worker: str | None
    pool_uid: str
    key: TaskKey
    number: int
    dag_uid: DagUid
    revision: int
    namespace: str
    run_name: str
    dag: str
    params: dict[str, Any]
    pins: dict[str, int]
    tick: datetime | None
    timeout_seconds: float
    cancelled: bool
    claimed_at: datetime | None
    bookmark: Any


def lock_for_claim(connection: psycopg.Connection, ids: Sequence[str]) -> dict[str, ClaimRow]:
    """Lock attempts in id order and return those that exist."""
    rows = connection.execute(_LOCK_FOR_CLAIM, {"ids": list(ids)})
    found = (
        ClaimRow(
            AttemptId(r[0]),
            AttemptPhase(r[1]),
            r[2],
            r[3],
            r[4],
            TaskKey(RunUid(r[5]), r[6], r[7]),
            r[8],
            DagUid(r[9]),
            *r[10:21],
        )
        for r in rows
    )
    return {row.id: row for row in found}


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
        connection.execute(
            _CLAIM,
            {
                "ids": [c.attempt for c in claims],
                "workers": [c.worker for c in claims],
                "requests": [c.request for c in claims],
                "hashes": [c.token_hash for c in claims],
                "now": now,
                "finish_grace": finish_grace,
            },
        )


_LOCK_FOR_REPORT: LiteralString = """
    SELECT id, run_uid, task, idx, phase, token_hash, reported_at, committed_at IS NOT NULL, cancel_at IS NOT NULL
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
      FROM unnest(%(ids)s::text[], %(seen)s::text[], %(phases)s::text[], %(reasons)s::text[], %(messages)s::text[],
                  %(errors)s::jsonb[], %(outputs)s::jsonb[], %(bookmarks)s::jsonb[], %(versions)s::jsonb[],
                  %(metrics)s::jsonb[])
           AS ended(id, seen, phase, reason, message, error, outputs, bookmark, versions, metrics)
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


def lock_for_report(connection: psycopg.Connection, ids: Sequence[str]) -> dict[str, ReportRow]:
    """Lock attempts in id order and return those that exist."""
    rows = connection.execute(_LOCK_FOR_REPORT, {"ids": list(ids)})
    found = (
        ReportRow(AttemptId(r[0]), TaskKey(RunUid(r[1]), r[2], r[3]), AttemptPhase(r[4]), r[5], r[6], r[7], r[8])
        for r in rows
    )
    return {row.id: row for row in found}


def report(connection: psycopg.Connection, outcomes: Sequence[Outcome], now: datetime) -> set[AttemptId]:
    """End attempts as their workers say; return those that ended by it."""
    if not outcomes:
        return set()
    rows = connection.execute(
        _REPORT,
        {
            "ids": [o.attempt for o in outcomes],
            "seen": [o.seen for o in outcomes],
            "phases": [o.phase for o in outcomes],
            "reasons": [o.reason for o in outcomes],
            "messages": [o.message or None for o in outcomes],
            "errors": [_json(o.error) for o in outcomes],
            "outputs": [_json(o.outputs) for o in outcomes],
            "bookmarks": [_json(o.bookmark) for o in outcomes],
            "versions": [_json(o.versions) for o in outcomes],
            "metrics": [_json(o.metrics) for o in outcomes],
            "now": now,
        },
    )
    return {AttemptId(r[0]) for r in rows}


def apply_writes(connection: psycopg.Connection, attempt: AttemptId, writes: Any, now: datetime) -> dict[str, int]:
    """Record the cold files of a successful attempt; return dataset uid → version."""
    row = connection.execute(_APPLY_WRITES, {"attempt": attempt, "writes": Jsonb(writes), "now": now}).fetchone()
    versions: dict[str, int] = row[0] if row else {}
    return versions


def _json(value: Any) -> Jsonb | None:
    return None if value is None else Jsonb(value)
