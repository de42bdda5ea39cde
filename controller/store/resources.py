"""Table resource: the desired state that people apply."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple

from psycopg.types.json import Jsonb

from controller.observed import Observation, Stored
from controller.store.selection import IN_SCOPE_OF_RESOURCE, LABELS_MATCH, Selection, scope_params

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

# Whoever changes resources takes turns, so that "nothing refers to it" stays true until COMMIT.
_TAKE_TURNS: LiteralString = "SELECT pg_advisory_xact_lock(hashtextextended('setpoint apply', 0))"

# In this order, as whoever locks several resources does.
_LOCK: LiteralString = """
    SELECT uid, kind, namespace, name, labels, annotations, generation, resource_version, spec, created_at,
           deletion_timestamp, finalizers
      FROM resource
      JOIN unnest(%(kinds)s::text[], %(namespaces)s::text[], %(names)s::text[]) AS wanted(kind, namespace, name)
           USING (kind, namespace, name)
     ORDER BY kind, namespace, name
       FOR NO KEY UPDATE OF resource
"""

_FIND: LiteralString = """
    SELECT uid, kind, namespace, name, labels, annotations, generation, resource_version, spec, created_at,
           deletion_timestamp, finalizers
      FROM resource
     WHERE kind = %(kind)s AND namespace = %(namespace)s AND name = %(name)s
"""

_PAGE: LiteralString = (
    """
    SELECT uid, kind, namespace, name, labels, annotations, generation, resource_version, spec, created_at,
           deletion_timestamp, finalizers
      FROM resource
     WHERE kind = %(kind)s AND namespace = %(namespace)s
       AND (%(name)s::text IS NULL OR name = %(name)s)
       AND (%(after)s::text IS NULL OR name > %(after)s)
       AND """  # noqa: S608 - both parts are constants
    + LABELS_MATCH
    + " AND "
    + IN_SCOPE_OF_RESOURCE
    + """
     ORDER BY name
     LIMIT %(limit)s
"""
)

_DAG_LABELS: LiteralString = """
    SELECT labels FROM resource WHERE kind = 'Dag' AND namespace = %(namespace)s AND name = %(name)s
"""

_DAG_LABELS_OF_RUN: LiteralString = """
    SELECT dag.labels FROM run JOIN resource dag ON dag.uid = run.dag_uid
     WHERE run.namespace = %(namespace)s AND run.name = %(name)s
"""

_EVERYWHERE: LiteralString = """
    SELECT uid, kind, namespace, name, labels, annotations, generation, resource_version, spec, created_at,
           deletion_timestamp, finalizers
      FROM resource
     WHERE kind = %(kind)s
     ORDER BY namespace, name
     LIMIT %(limit)s
"""

_POOLS_ELSEWHERE: LiteralString = """
    SELECT uid, kind, namespace, name, labels, annotations, generation, resource_version, spec, created_at,
           deletion_timestamp, finalizers
      FROM resource
     WHERE kind = 'WorkerPool' AND namespace <> ALL(%(namespaces)s)
     LIMIT %(limit)s
"""

_INSERT: LiteralString = """
    INSERT INTO resource (uid, kind, namespace, name, labels, annotations, spec, created_at)
    VALUES (%(uid)s, %(kind)s, %(namespace)s, %(name)s, %(labels)s, %(annotations)s, %(spec)s, %(created_at)s)
"""

_UPDATE: LiteralString = """
    UPDATE resource
       SET labels = %(labels)s, annotations = %(annotations)s, generation = %(generation)s, spec = %(spec)s,
           resource_version = nextval('resource_version')
     WHERE uid = %(uid)s
"""

_DELETE: LiteralString = "DELETE FROM resource WHERE uid = %(uid)s"

_DAGS_WITH_POOL: LiteralString = """
    SELECT name FROM resource
     WHERE kind = 'Dag' AND namespace = %(namespace)s
       AND EXISTS (SELECT FROM jsonb_array_elements(spec->'tasks') t
                    WHERE coalesce(t->>'pool', t->>'runtime') = %(name)s)
     ORDER BY name
     LIMIT %(limit)s
"""

_DAGS_WITH_DATASET: LiteralString = """
    SELECT name FROM resource
     WHERE kind = 'Dag' AND namespace = %(namespace)s
       AND EXISTS (SELECT FROM jsonb_array_elements(spec->'tasks') t
                    CROSS JOIN LATERAL (SELECT value FROM jsonb_each(coalesce(t->'inputs', '{}'))
                                        UNION ALL SELECT value FROM jsonb_each(coalesce(t->'outputs', '{}'))) AS io
                    WHERE io.value->>'dataset' = %(name)s)
     ORDER BY name
     LIMIT %(limit)s
"""

_LISTENING: LiteralString = """
    SELECT kind, namespace, name FROM resource
     WHERE kind = 'Dag' AND spec->'triggers' @> %(trigger)s
     ORDER BY namespace, name
     LIMIT %(limit)s
"""

_PREFIXES: LiteralString = """
    SELECT DISTINCT split_part(trigger->'webhook'->>'path', '/', 1)
      FROM resource CROSS JOIN LATERAL jsonb_array_elements(spec->'triggers') AS trigger
     WHERE kind = 'Dag' AND spec ? 'triggers'
"""

_HAS_RUNS: LiteralString = "SELECT count(*) FROM (SELECT FROM run WHERE dag_uid = %(uid)s LIMIT 1000) AS counted"

_BUSY_POOL: LiteralString = """
    SELECT count(*) FROM (SELECT FROM task_run WHERE pool_uid = %(uid)s AND ended_at IS NULL LIMIT 1000) AS counted
"""

_ENSURE_DATASET: LiteralString = """
    INSERT INTO dataset_state (dataset_uid) VALUES (%(uid)s) ON CONFLICT DO NOTHING
"""

_ENSURE_HOT_TABLE: LiteralString = "SELECT ensure_hot_table(%(uid)s)"

_OBSERVATIONS: LiteralString = """
    SELECT uid, observed_generation, status, observed_at FROM observation WHERE uid = ANY(%(uids)s)
"""

# The most names that a refusal lists.
_SHOWN = 5


class Ref(NamedTuple):
    """What a resource is called."""

    kind: str
    namespace: str
    name: str


def take_turns(connection: psycopg.Connection) -> None:
    """Wait until no other transaction changes resources; holds until COMMIT."""
    connection.execute(_TAKE_TURNS)


def lock(connection: psycopg.Connection, refs: Sequence[Ref]) -> dict[Ref, Stored]:
    """Lock and return the resources that exist."""
    rows = connection.execute(
        _LOCK,
        {
            "kinds": [r.kind for r in refs],
            "namespaces": [r.namespace for r in refs],
            "names": [r.name for r in refs],
        },
    )
    found = [_stored(row) for row in rows]
    return {Ref(s.kind, s.namespace, s.name): s for s in found}


def find(connection: psycopg.Connection, ref: Ref) -> Stored | None:
    """Return one resource."""
    row = connection.execute(_FIND, ref._asdict()).fetchone()
    return None if row is None else _stored(row)


def listening(connection: psycopg.Connection, path: str, limit: int) -> list[Ref]:
    """Return the Dags that a webhook starts, in name order."""
    trigger = Jsonb([{"webhook": {"path": path}}])
    return [Ref(*row) for row in connection.execute(_LISTENING, {"trigger": trigger, "limit": limit})]


def webhook_prefixes(connection: psycopg.Connection) -> set[str]:
    """Return the first parts of all webhooks' paths, which name their secrets."""
    return {row[0] for row in connection.execute(_PREFIXES)}


def page(connection: psycopg.Connection, kind: str, selection: Selection) -> list[Stored]:
    """Return the resources of a kind that are selected, by name."""
    rows = connection.execute(
        _PAGE,
        {
            "kind": kind,
            "namespace": selection.namespace,
            "name": selection.name,
            "after": selection.after[0] if selection.after else None,
            "limit": selection.limit,
        }
        | selection.labels.params()
        # A scope is of Dags; pools and datasets are everybody's to read.
        | scope_params(selection.scope if kind == "Dag" else None),
    )
    return [_stored(row) for row in rows]


def dag_labels(connection: psycopg.Connection, ref: Ref) -> dict[str, str] | None:
    """Return the labels of a Dag, or of the Dag of a DagRun; None if there is no such object."""
    query = _DAG_LABELS if ref.kind == "Dag" else _DAG_LABELS_OF_RUN
    row = connection.execute(query, {"namespace": ref.namespace, "name": ref.name}).fetchone()
    return None if row is None else row[0]


def everywhere(connection: psycopg.Connection, kind: str, limit: int) -> list[Stored]:
    """Return the resources of a kind in all namespaces."""
    return [_stored(row) for row in connection.execute(_EVERYWHERE, {"kind": kind, "limit": limit})]


def pools_elsewhere(connection: psycopg.Connection, namespaces: Sequence[str], limit: int) -> list[Stored]:
    """Return the pools of all other namespaces."""
    rows = connection.execute(_POOLS_ELSEWHERE, {"namespaces": list(namespaces), "limit": limit})
    return [_stored(row) for row in rows]


def insert(connection: psycopg.Connection, resource: Stored) -> None:
    """Create a resource at generation 1."""
    connection.execute(
        _INSERT,
        {
            "uid": resource.uid,
            "kind": resource.kind,
            "namespace": resource.namespace,
            "name": resource.name,
            "labels": Jsonb(resource.labels),
            "annotations": Jsonb(resource.annotations),
            "spec": Jsonb(resource.spec),
            "created_at": resource.created_at,
        },
    )


def update(
    connection: psycopg.Connection,
    stored: Stored,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    spec: Mapping[str, Any],
    generation: int,
) -> None:
    """Write a locked resource; its resource version grows."""
    connection.execute(
        _UPDATE,
        {
            "uid": stored.uid,
            "labels": Jsonb(labels),
            "annotations": Jsonb(annotations),
            "spec": Jsonb(spec),
            "generation": generation,
        },
    )


def delete(connection: psycopg.Connection, uid: str) -> None:
    """Delete a resource and what hangs on it alone."""
    connection.execute(_DELETE, {"uid": uid})


def dags_with_pool(connection: psycopg.Connection, namespace: str, pool: str) -> list[str]:
    """Return some of the DAGs whose tasks run in a pool."""
    params = {"namespace": namespace, "name": pool, "limit": _SHOWN}
    return [row[0] for row in connection.execute(_DAGS_WITH_POOL, params)]


def dags_with_dataset(connection: psycopg.Connection, namespace: str, dataset: str) -> list[str]:
    """Return some of the DAGs whose tasks read or write a dataset."""
    params = {"namespace": namespace, "name": dataset, "limit": _SHOWN}
    return [row[0] for row in connection.execute(_DAGS_WITH_DATASET, params)]


def run_count(connection: psycopg.Connection, dag_uid: str) -> int:
    """Return how many runs a DAG has, counted up to a thousand."""
    return _count(connection, _HAS_RUNS, dag_uid)


def unfinished_in_pool(connection: psycopg.Connection, pool_uid: str) -> int:
    """Return how many unfinished tasks belong to a pool, counted up to a thousand."""
    return _count(connection, _BUSY_POOL, pool_uid)


def ensure_dataset(connection: psycopg.Connection, uid: str, *, hot: bool) -> None:
    """Give a dataset its state row and, if hot, its table; raises SQLSTATE SP002 if rows would be lost."""
    connection.execute(_ENSURE_DATASET, {"uid": uid})
    if hot:
        connection.execute(_ENSURE_HOT_TABLE, {"uid": uid})


def observations(connection: psycopg.Connection, uids: Sequence[str]) -> dict[str, Observation]:
    """Return what the controller found when it last looked, by uid."""
    rows = connection.execute(_OBSERVATIONS, {"uids": list(uids)})
    return {row[0]: Observation(row[1], row[2], row[3]) for row in rows}


def _stored(row: Sequence[Any]) -> Stored:
    return replace(Stored(*row), finalizers=tuple(row[-1]))


def _count(connection: psycopg.Connection, query: LiteralString, uid: str) -> int:
    row = connection.execute(query, {"uid": uid}).fetchone()
    return 0 if row is None else int(row[0])
