"""Dags as their reconciler sees them: the row, locked, and the cursors of its schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from crds.dag import DagSpec
from crds.names import DagUid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg

_LOCK: LiteralString = """
    SELECT uid, namespace, name, generation, spec, deletion_timestamp IS NOT NULL, finalizers
      FROM resource
     WHERE kind = 'Dag' AND uid = ANY(%(uids)s)
     ORDER BY namespace, name
       FOR NO KEY UPDATE
"""

# Written only when it says something new: a pass over a DAG that stands still costs no write.
_OBSERVED: LiteralString = """
    INSERT INTO observation (uid, observed_generation, status, observed_at)
    VALUES (%(uid)s, %(generation)s, jsonb_build_object('error', %(problem)s::text), %(now)s)
        ON CONFLICT (uid) DO UPDATE
       SET observed_generation = excluded.observed_generation, status = excluded.status, observed_at = excluded.observed_at
     WHERE (observation.observed_generation, observation.status) <> (excluded.observed_generation, excluded.status)
"""

_CURSORS: LiteralString = "SELECT schedule, cursor FROM schedule_cursor WHERE dag_uid = %(dag)s"

_MOVE: LiteralString = """
    UPDATE schedule_cursor SET cursor = moved.cursor
      FROM unnest(%(schedules)s::text[], %(cursors)s::timestamptz[]) AS moved(schedule, cursor)
     WHERE dag_uid = %(dag)s AND schedule_cursor.schedule = moved.schedule AND schedule_cursor.cursor < moved.cursor
"""

# What may need something: a DAG with a schedule, with a run that waits, or that is being deleted.
_ACTIVE: LiteralString = """
    SELECT uid FROM resource
     WHERE kind = 'Dag'
       AND (jsonb_array_length(coalesce(spec->'schedules', '[]')) > 0
            OR deletion_timestamp IS NOT NULL
            OR EXISTS (SELECT FROM run WHERE run.dag_uid = resource.uid AND run.ended_at IS NULL AND run.phase = 'Pending'))
"""


@dataclass(frozen=True, slots=True)
class DagRow:
    """A Dag, locked by this transaction."""

    uid: DagUid
    namespace: str
    name: str
    generation: int
    spec: DagSpec
    terminating: bool = False
    finalizers: tuple[str, ...] = ()


def lock(connection: psycopg.Connection, uids: Sequence[str]) -> list[DagRow]:
    """Lock and return Dags in name order."""
    rows = connection.execute(_LOCK, {"uids": list(uids)})
    return [
        DagRow(DagUid(r[0]), r[1], r[2], r[3], DagSpec.model_validate(r[4], extra="ignore"), r[5], tuple(r[6]))
        for r in rows
    ]


def cursors(connection: psycopg.Connection, dag: DagUid) -> dict[str, datetime]:
    """Return how far each schedule's ticks have become runs."""
    return {r[0]: r[1] for r in connection.execute(_CURSORS, {"dag": dag})}


def move_cursors(connection: psycopg.Connection, dag: DagUid, moved: Mapping[str, datetime]) -> None:
    """Move cursors forward, never back."""
    if moved:
        connection.execute(_MOVE, {"dag": dag, "schedules": list(moved), "cursors": list(moved.values())})


def observed(connection: psycopg.Connection, dag: DagUid, generation: int, problem: str | None, now: datetime) -> bool:
    """Record that the reconciler has seen a generation, and what a person must do about it; return whether that is news."""
    values = {"uid": dag, "generation": generation, "problem": problem, "now": now}
    return connection.execute(_OBSERVED, values).rowcount > 0


def active(connection: psycopg.Connection) -> list[DagUid]:
    """Return the Dags that may need something, for the resync."""
    return [DagUid(r[0]) for r in connection.execute(_ACTIVE)]
