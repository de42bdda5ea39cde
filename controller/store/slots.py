"""Free slots and who waits for them, counted in the transaction that admits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from controller.actions import TaskKey
from controller.diff.admission import ReadyTask
from crds.names import RunUid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

# A skip scan over the index of ready tasks: one probe a DAG, however many tasks wait.
_WAITING: LiteralString = """
    SELECT pool.uid, waiting.dag_uid
      FROM unnest(%(pools)s::text[]) AS pool(uid)
     CROSS JOIN LATERAL (
        WITH RECURSIVE found AS (
            (SELECT dag_uid FROM task_run
              WHERE phase = 'Ready' AND NOT held AND pool_uid = pool.uid ORDER BY dag_uid LIMIT 1)
            UNION ALL
            SELECT (SELECT next.dag_uid FROM task_run next
                     WHERE next.phase = 'Ready' AND NOT next.held AND next.pool_uid = pool.uid
                       AND next.dag_uid > found.dag_uid
                     ORDER BY next.dag_uid LIMIT 1)
              FROM found WHERE found.dag_uid IS NOT NULL)
        SELECT dag_uid FROM found WHERE dag_uid IS NOT NULL) AS waiting
"""

# Under READ COMMITTED two counters would both see room, so whoever admits locks pools and limited DAGs first, in name order.
_LOCK: LiteralString = """
    SELECT uid, kind, name, namespace,
           CASE kind WHEN 'Dag' THEN jsonb_build_object('concurrency', spec->'concurrency') ELSE spec END
      FROM resource
     WHERE uid = ANY(%(pools)s)
        OR uid = ANY(%(dags)s) AND spec->'concurrency'->>'maxActiveTasks' IS NOT NULL
     ORDER BY kind, namespace, name
       FOR NO KEY UPDATE
"""

_LIVE: LiteralString = """
    SELECT pool_uid, dag_uid, count(*) FROM attempt
     WHERE pool_uid = ANY(%(pools)s) AND ended_at IS NULL
     GROUP BY pool_uid, dag_uid
"""

_LIVE_OF_DAGS: LiteralString = """
    SELECT dag_uid, count(*) FROM attempt WHERE dag_uid = ANY(%(dags)s) AND ended_at IS NULL GROUP BY dag_uid
"""

# A task that ended in one pool makes room for a task of the same DAG in another one.
_LIMITED_POOLS: LiteralString = """
    SELECT DISTINCT pool.uid
      FROM resource dag
      JOIN resource pool ON pool.kind = 'WorkerPool'
     WHERE dag.uid = ANY(%(dags)s) AND dag.spec->'concurrency'->>'maxActiveTasks' IS NOT NULL
       AND EXISTS (SELECT FROM task_run
                    WHERE phase = 'Ready' AND NOT held AND pool_uid = pool.uid AND dag_uid = dag.uid)
"""

_READY: LiteralString = """
    SELECT wanted.pool_uid, wanted.dag_uid, ready.*
      FROM unnest(%(pools)s::text[], %(dags)s::text[], %(rooms)s::int[]) AS wanted(pool_uid, dag_uid, room)
     CROSS JOIN LATERAL (
        SELECT task_run.run_uid, task_run.task, task_run.idx, task_run.number, task_run.priority, task_run.ready_at,
               run.revision
          FROM task_run
          JOIN run ON run.uid = task_run.run_uid AND run.cancel_at IS NULL
         WHERE task_run.phase = 'Ready' AND NOT task_run.held AND task_run.pool_uid = wanted.pool_uid
           AND task_run.dag_uid = wanted.dag_uid
         ORDER BY task_run.priority DESC, task_run.ready_at, task_run.run_uid, task_run.task, task_run.idx
         LIMIT wanted.room) AS ready
"""


@dataclass(frozen=True, slots=True)
class Limited:
    """A locked pool or DAG row."""

    uid: str
    kind: str
    name: str
    namespace: str
    spec: Mapping[str, object]


def waiting(connection: psycopg.Connection, pools: Sequence[str]) -> list[tuple[str, str]]:
    """Return (pool, dag) wherever a ready task waits."""
    return [(r[0], r[1]) for r in connection.execute(_WAITING, {"pools": list(pools)})]


def limited_pools(connection: psycopg.Connection, dags: Sequence[str]) -> set[str]:
    """Return the pools in which tasks wait of those of the DAGs that limit their tasks."""
    return {r[0] for r in connection.execute(_LIMITED_POOLS, {"dags": list(dags)})}


def lock(connection: psycopg.Connection, pools: Sequence[str], dags: Sequence[str]) -> dict[str, Limited]:
    """Lock the pools, and those of the DAGs that limit their tasks."""
    rows = connection.execute(_LOCK, {"pools": list(pools), "dags": list(dags)})
    return {r[0]: Limited(*r) for r in rows}


def live(connection: psycopg.Connection, pools: Sequence[str]) -> dict[tuple[str, str], int]:
    """Return the live attempts of each (pool, dag)."""
    return {(r[0], r[1]): r[2] for r in connection.execute(_LIVE, {"pools": list(pools)})}


def live_of_dags(connection: psycopg.Connection, dags: Sequence[str]) -> dict[str, int]:
    """Return the live attempts of each DAG in all pools."""
    return {r[0]: r[1] for r in connection.execute(_LIVE_OF_DAGS, {"dags": list(dags)})}


def ready(
    connection: psycopg.Connection, wanted: Sequence[tuple[str, str, int]]
) -> dict[tuple[str, str], tuple[ReadyTask, ...]]:
    """Return the first ready tasks of each (pool, dag, room), in the order in which they get slots."""
    rows = connection.execute(
        _READY,
        {"pools": [w[0] for w in wanted], "dags": [w[1] for w in wanted], "rooms": [w[2] for w in wanted]},
    )
    found: dict[tuple[str, str], list[ReadyTask]] = {}
    for r in rows:
        found.setdefault((r[0], r[1]), []).append(ReadyTask(TaskKey(RunUid(r[2]), r[3], r[4]), *r[5:9]))
    return {key: tuple(tasks) for key, tasks in found.items()}
