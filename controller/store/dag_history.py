"""Tables revision, revision_edge and schedule_cursor, as applying a Dag writes them and people read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg

_RECORD: LiteralString = """
    INSERT INTO revision (dag_uid, generation, spec, created_at)
    VALUES (%(dag)s, %(generation)s, %(spec)s, %(now)s)
"""

_EDGES: LiteralString = """
    INSERT INTO revision_edge (dag_uid, generation, task, upstream)
    SELECT DISTINCT %(dag)s, %(generation)s::bigint, edge.*
      FROM unnest(%(tasks)s::text[], %(upstreams)s::text[]) AS edge(task, upstream)
"""

# A new schedule starts now; one that is gone forgets how far it was.
_ADD_CURSORS: LiteralString = """
    INSERT INTO schedule_cursor (dag_uid, schedule, cursor)
    SELECT %(dag)s, schedule, %(now)s FROM unnest(%(schedules)s::text[]) AS schedule
        ON CONFLICT DO NOTHING
"""

_DROP_CURSORS: LiteralString = """
    DELETE FROM schedule_cursor WHERE dag_uid = %(dag)s AND schedule <> ALL(%(schedules)s)
"""

_LATEST: LiteralString = """
    SELECT revision.generation, revision.created_at, revision.spec,
           (SELECT count(*) FROM run
             WHERE run.dag_uid = revision.dag_uid AND run.revision = revision.generation AND run.ended_at IS NULL)
      FROM revision
     WHERE dag_uid = %(dag)s
     ORDER BY generation DESC
     LIMIT %(limit)s
"""

_SPECS: LiteralString = """
    SELECT dag_uid, generation, spec
      FROM revision
      JOIN unnest(%(dags)s::text[], %(generations)s::bigint[]) AS wanted(dag_uid, generation)
           USING (dag_uid, generation)
"""


@dataclass(frozen=True, slots=True)
class PastRevision:
    """A Dag's spec at one generation, and how many unfinished runs are pinned to it."""

    generation: int
    created_at: datetime
    spec: Mapping[str, Any]
    active_runs: int


def record(
    connection: psycopg.Connection, dag_uid: str, generation: int, spec: Mapping[str, Any], now: datetime
) -> None:
    """Record a Dag's spec at a generation with the edges of its tasks, and bring its schedules' cursors in line."""
    edges = [(t["name"], upstream) for t in spec["tasks"] for upstream in t.get("needs", ())]
    values: dict[str, object] = {"dag": dag_uid, "generation": generation, "now": now}
    connection.execute(_RECORD, values | {"spec": Jsonb(spec)})
    connection.execute(_EDGES, values | {"tasks": [e[0] for e in edges], "upstreams": [e[1] for e in edges]})
    schedules = [s.get("name", "default") for s in spec.get("schedules", ())]
    connection.execute(_DROP_CURSORS, values | {"schedules": schedules})
    connection.execute(_ADD_CURSORS, values | {"schedules": schedules})


def latest(connection: psycopg.Connection, dag_uid: str, limit: int) -> list[PastRevision]:
    """Return a Dag's newest revisions, newest first."""
    return [PastRevision(*row) for row in connection.execute(_LATEST, {"dag": dag_uid, "limit": limit})]


def specs(
    connection: psycopg.Connection, wanted: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], Mapping[str, Any]]:
    """Return the specs of (dag uid, generation)."""
    params = {"dags": [w[0] for w in wanted], "generations": [w[1] for w in wanted]}
    return {(row[0], row[1]): row[2] for row in connection.execute(_SPECS, params)}
