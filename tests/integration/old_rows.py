"""Years of finished work: runs, tasks, attempts, events and workers that have all ended, as the real schema keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from tests.conftest import Database

TASKS_A_RUN = 100
TABLES = ("run", "task_run", "attempt", "worker", "event")

# Every hundredth run was cancelled, every tenth failed; they lie a minute apart and end before the test begins.
_RUNS = """
    INSERT INTO run (uid, namespace, name, dag_uid, dag, revision, key, trigger, params, phase, reason, deadline, created_at,
                     started_at, ended_at)
    SELECT old.uid, 'default', dag.name || '-' || old.uid, dag.uid, dag.name, 1, 'trigger/' || old.uid, 'manual',
           '{"day": "2026-01-01"}',
           CASE WHEN n %% 100 = 0 THEN 'Cancelled' WHEN n %% 10 = 0 THEN 'Failed' ELSE 'Succeeded' END, 'Succeeded',
           at + interval '7 days', at, at, at + interval '1 hour'
      FROM (SELECT n, lpad(to_hex(n), 20, '0') AS uid, %(before)s::timestamptz - n * interval '1 minute' AS at
              FROM generate_series(1, %(runs)s) AS n) AS old
      JOIN resource dag ON dag.kind = 'Dag' AND dag.name = %(dag)s
"""

_TASKS = """
    INSERT INTO task_run (run_uid, task, dag_uid, pool_uid, phase, number, ready_at, started_at, ended_at, outputs, reason)
    SELECT run.uid, 't' || n, run.dag_uid, pool.uid,
           CASE WHEN run.phase = 'Succeeded' THEN 'Succeeded' WHEN n < 90 THEN 'Succeeded' ELSE run.phase END,
           1, run.created_at, run.created_at, run.ended_at, '{"rows": 1000}', 'Succeeded'
      FROM run
     CROSS JOIN generate_series(1, %(tasks)s) AS n
      JOIN resource pool ON pool.kind = 'WorkerPool' AND pool.name = %(pool)s
"""

_ATTEMPTS = """
    INSERT INTO attempt (id, run_uid, task, idx, number, dag_uid, pool_uid, phase, worker, request, token_hash, timeout,
                         queue_by, sent_at, claimed_at, next_check_at, created_at, reported_at, ended_at, reason, outputs)
    SELECT run_uid || '/' || task || '/0/1', run_uid, task, 0, 1, dag_uid, pool_uid, phase, 'old-' || ntile %% 5000, 'r',
           sha256('old'), interval '1 hour', ended_at, ready_at, ready_at, ended_at, ready_at, ended_at, ended_at, reason,
           outputs
      FROM (SELECT *, row_number() OVER () AS ntile FROM task_run) AS task_run
"""

_WORKERS = """
    INSERT INTO worker (id, pool_uid, ecs_task, slots, started_at, renewed_at, heartbeat_by, ended_at, reason)
    SELECT 'old-' || n, pool.uid, 'arn:old/' || n, 5, %(before)s, %(before)s, %(before)s, %(before)s, 'WorkerStopped'
      FROM generate_series(0, 4999) AS n JOIN resource pool ON pool.kind = 'WorkerPool' AND pool.name = %(pool)s
"""

_EVENTS = """
    INSERT INTO event (at, type, namespace, kind, name, run_uid, reason, message)
    SELECT run.ended_at, 'Normal', 'default', 'DagRun', run.name, run.uid, 'Succeeded', 'run is Succeeded'
      FROM run CROSS JOIN generate_series(1, 10)
"""

_INDEXES = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
      FROM pg_index
      JOIN pg_class ON pg_class.oid = indrelid
     WHERE relname = ANY(%(tables)s) AND NOT indisunique AND relnamespace = 'setpoint'::regnamespace
"""


def fill(database: Database, tasks: int, *, dag: str, pool: str, before: object) -> None:
    """Write as many finished tasks, of one DAG in one pool, with an attempt each; indexes are built afterwards."""
    values = {"runs": max(tasks // TASKS_A_RUN, 1), "tasks": TASKS_A_RUN, "dag": dag, "pool": pool, "before": before}
    with psycopg.connect(database.superuser_conninfo, options="-c search_path=setpoint,pg_catalog") as connection:
        connection.execute("SET LOCAL maintenance_work_mem = '1GB'")
        # Foreign keys hold by the way in which the rows are made; checking ten million of them takes minutes.
        connection.execute("SET LOCAL session_replication_role = replica")
        indexes = connection.execute(_INDEXES, {"tables": list(TABLES)}).fetchall()
        for name, _ in indexes:
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.SQL(name)))
        for statement in (_RUNS, _TASKS, _ATTEMPTS, _WORKERS, _EVENTS):
            connection.execute(statement, values)
        for _, definition in indexes:
            connection.execute(definition)
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute(
            sql.SQL("VACUUM ANALYZE {}").format(sql.SQL(", ").join(sql.Identifier("setpoint", t) for t in TABLES))
        )
