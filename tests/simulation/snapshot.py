"""Everything that the invariants look at, read in one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import msgspec

from tests.integration.core_invariants import MISCOUNTED

if TYPE_CHECKING:
    import psycopg

# One round trip; the tables hold the rows of one schedule alone.
_READ: LiteralString = (
    """
    SELECT json_build_object(
        'runs', (SELECT json_agg(json_build_array(
                    uid, name, dag_uid, phase, revision, schedule, tick, ended_at IS NOT NULL, suspend,
                    cancel_at IS NOT NULL, generation, reason)) FROM run),
        'tasks', (SELECT json_agg(json_build_array(
                    run_uid, task, idx, phase, number, user_failures, infrastructure_failures, evictions, outputs,
                    versions, generation, ended_at IS NOT NULL, reason)) FROM task_run),
        'attempts', (SELECT json_agg(json_build_array(
                    id, run_uid, task, idx, number, phase, pool_uid, dag_uid, ended_at IS NOT NULL,
                    isfinite(next_check_at) AND isfinite(queue_by), outputs, worker, delivery,
                    reported_at IS NOT NULL, extract(epoch FROM ended_at), reason, committed_at IS NOT NULL,
                    dead_letters, sent_at IS NOT NULL,
                    extract(epoch FROM CASE WHEN isfinite(next_check_at) THEN next_check_at ELSE created_at END)))
                    FROM attempt),
        'resources', (SELECT json_agg(json_build_array(
                    uid, kind, name, generation, (spec->>'slots')::int * (spec->>'maxTasks')::int,
                    (spec->'concurrency'->>'maxActiveTasks')::int)) FROM resource WHERE kind IN ('WorkerPool', 'Dag')),
        'files', (SELECT json_agg(json_build_array(key, attempt, added, removed)) FROM manifest_file),
        'wronged', (SELECT json_agg(id) FROM worker WHERE reason = 'LeaseExpired' AND heartbeat_by > ended_at),
        'miscounted', (SELECT json_agg(json_build_array(run_uid, task)) FROM ("""
    + MISCOUNTED
    + """) AS found))::text
"""
)


class Run(msgspec.Struct, array_like=True, frozen=True):
    """A row of run."""

    uid: str
    name: str
    dag: str
    phase: str
    revision: int
    schedule: str | None
    tick: str | None
    ended: bool
    suspend: bool
    cancelling: bool
    generation: int
    reason: str | None


class Task(msgspec.Struct, array_like=True, frozen=True):
    """A row of task_run."""

    run: str
    task: str
    index: int
    phase: str
    number: int
    user_failures: int
    infrastructure_failures: int
    evictions: int
    outputs: dict[str, Any] | None
    versions: dict[str, int] | None
    generation: int
    ended: bool
    reason: str | None

    @property
    def key(self) -> tuple[str, str, int]:
        """Return what names it."""
        return self.run, self.task, self.index


class Attempt(msgspec.Struct, array_like=True, frozen=True):
    """A row of attempt."""

    id: str
    run: str
    task: str
    index: int
    number: int
    phase: str
    pool: str
    dag: str
    ended: bool
    finite: bool
    outputs: dict[str, Any] | None
    worker: str | None
    delivery: int
    reported: bool
    ended_at: float | None
    reason: str | None
    committed: bool
    dead_letters: int
    sent: bool
    check_at: float

    @property
    def key(self) -> tuple[str, str, int]:
        """Return what names its task."""
        return self.run, self.task, self.index


class Resource(msgspec.Struct, array_like=True, frozen=True):
    """A pool or a DAG; `limit` is the pool's, `most_tasks` the DAG's."""

    uid: str
    kind: str
    name: str
    generation: int
    limit: int | None
    most_tasks: int | None


class File(msgspec.Struct, array_like=True, frozen=True):
    """A row of manifest_file."""

    key: str
    attempt: str
    added: int
    removed: int | None


class Snapshot(msgspec.Struct, frozen=True):
    """What is committed now."""

    runs: list[Run] | None = None
    tasks: list[Task] | None = None
    attempts: list[Attempt] | None = None
    resources: list[Resource] | None = None
    files: list[File] | None = None
    wronged: list[str] | None = None
    """Workers that were given up although their leases had not expired."""
    miscounted: list[tuple[str, str]] | None = None
    """Waiting tasks whose counters do not agree with the tasks above them."""


_decoder = msgspec.json.Decoder(Snapshot)


def read(connection: psycopg.Connection) -> Snapshot:
    """Return what is committed now."""
    row = connection.execute(_READ).fetchone()
    if row is None:
        raise RuntimeError("the database told nothing")
    return _decoder.decode(row[0])
