"""Free slots and who waits for them, counted in the transaction that admits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from controller.actions import TaskKey
from controller.diff.admission import ReadyTask
from controller.store.later import Known, Later
from crds.names import RunUid, service_name

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    import psycopg

# A skip scan over the index of ready tasks: one probe a DAG, however many tasks wait.
_WAITING: LiteralString = """
    SELECT pool.uid AS pool_uid, waiting.dag_uid
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

# Under READ COMMITTED two counters would both see room, so whoever admits locks pools and limited DAGs first, in name
# order. A pool in which nothing waits is not locked.
_LOCK: LiteralString = (
    "WITH waiting AS ("  # noqa: S608 - all of it is literal
    + _WAITING
    + """)
    SELECT resource.uid
      FROM (SELECT pool_uid FROM waiting UNION SELECT dag_uid FROM waiting) AS wanted(uid)
      JOIN resource USING (uid)
     WHERE resource.live_limit IS NOT NULL
     ORDER BY resource.kind, resource.namespace, resource.name
       FOR NO KEY UPDATE OF resource
"""
)

# Counted in a statement of its own, so that it sees what was committed before the lock was given. A task that someone else
# holds just now is passed over: who holds it looks at its pool afterwards.
_READY: LiteralString = (
    "WITH waiting AS ("  # noqa: S608 - all of it is literal
    + _WAITING
    + """), live AS (
        SELECT pool_uid, dag_uid, count(*) AS attempts FROM attempt
         WHERE pool_uid = ANY(%(pools)s) AND ended_at IS NULL
         GROUP BY pool_uid, dag_uid
    ), pool AS (
        SELECT uid, namespace, name,
               least(live_limit - (SELECT coalesce(sum(attempts), 0) FROM live WHERE pool_uid = uid), %(most)s) AS room
          FROM resource WHERE uid = ANY(%(pools)s)
    )
    SELECT waiting.pool_uid, waiting.dag_uid, pool.room, dag.room, coalesce(live.attempts, 0), ready.*, pool.namespace,
           pool.name
      FROM waiting
      JOIN pool ON pool.uid = waiting.pool_uid AND pool.room > 0
     CROSS JOIN LATERAL (
        SELECT live_limit - (SELECT count(*) FROM attempt WHERE dag_uid = resource.uid AND ended_at IS NULL) AS room
          FROM resource WHERE uid = waiting.dag_uid AND live_limit IS NOT NULL
         UNION ALL
        SELECT NULL FROM resource WHERE uid = waiting.dag_uid AND live_limit IS NULL) AS dag
      LEFT JOIN live ON live.pool_uid = waiting.pool_uid AND live.dag_uid = waiting.dag_uid
     CROSS JOIN LATERAL (
        SELECT task_run.run_uid, task_run.task, task_run.idx, task_run.number, task_run.priority, task_run.ready_at,
               run.revision
          FROM task_run
          JOIN run ON run.uid = task_run.run_uid AND run.cancel_at IS NULL
         WHERE task_run.phase = 'Ready' AND NOT task_run.held AND task_run.pool_uid = waiting.pool_uid
           AND task_run.dag_uid = waiting.dag_uid
         ORDER BY task_run.priority DESC, task_run.ready_at, task_run.run_uid, task_run.task, task_run.idx
         LIMIT greatest(least(pool.room, dag.room), 0)
           FOR NO KEY UPDATE OF task_run SKIP LOCKED) AS ready
"""
)

# A task that ended in one pool makes room for a task of the same DAG in another one.
_LIMITED_POOLS: LiteralString = """
    SELECT DISTINCT pool.uid
      FROM resource dag
      JOIN resource pool ON pool.kind = 'WorkerPool'
     WHERE dag.uid = ANY(%(dags)s) AND dag.live_limit IS NOT NULL
       AND EXISTS (SELECT FROM task_run
                    WHERE phase = 'Ready' AND NOT held AND pool_uid = pool.uid AND dag_uid = dag.uid)
"""


@dataclass(frozen=True, slots=True)
class Ready:
    """The first ready tasks of a DAG in a locked pool, as many as may get a slot, with what limits them."""

    pool: str
    dag: str
    pool_room: int
    dag_room: int | None
    """None if the DAG does not limit its tasks."""
    live: int
    """The DAG's live attempts in the pool."""
    tasks: list[ReadyTask]
    pool_name: str
    """As metrics and services name it."""


def limited_pools(connection: psycopg.Connection, dags: Sequence[str]) -> Later[set[str]]:
    """Return the pools in which tasks wait of those of the DAGs that limit their tasks."""
    if not dags:
        return Known(set())
    rows = connection.execute(_LIMITED_POOLS, {"dags": sorted(set(dags))})
    return Later(rows, lambda found: {r[0] for r in found})


def ready(connection: psycopg.Connection, pools: Sequence[str], most: int) -> Later[list[Ready]]:
    """Lock the pools in which tasks wait; return which tasks may get their free slots, `most` of a pool."""
    locked = Later(connection.execute(_LOCK, {"pools": list(pools)}), lambda rows: {r[0] for r in rows})
    rows = connection.execute(_READY, {"pools": list(pools), "most": most})
    return Later(rows, lambda found: _ready(locked.get(), found))


def _ready(locked: Container[str], rows: Iterable[tuple[Any, ...]]) -> list[Ready]:
    found: dict[tuple[str, str], Ready] = {}
    for r in rows:
        if r[0] not in locked or (r[3] is not None and r[1] not in locked):
            # It began to wait behind our lock's back; who committed that fills the pool.
            continue
        queue = found.setdefault((r[0], r[1]), Ready(r[0], r[1], r[2], r[3], r[4], [], service_name(r[13], r[12])))
        queue.tasks.append(ReadyTask(TaskKey(RunUid(r[5]), r[6], r[7]), *r[8:12]))
    return list(found.values())
