"""What people see of runs, tasks, attempts, pools and datasets: reads over several tables, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.rows import dict_row

from controller.errors import NotFound
from controller.observed import (
    ObservedAttempt,
    ObservedDag,
    ObservedDataset,
    ObservedPool,
    ObservedRun,
    ObservedTask,
)
from controller.store.selection import IN_SCOPE_OF_RUN, LABELS_MATCH, Selection, scope_params
from crds.names import AttemptId, RunUid
from crds.phases import AttemptPhase, RunPhase, TaskPhase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

# The page is cut first, so that tasks and attempts are counted for its runs alone.
_RUN_COLUMNS: LiteralString = """
    SELECT page.uid, page.namespace, page.name, page.dag_uid, page.dag, page.revision, page.trigger, page.schedule,
           page.tick, page.params, page.labels, page.suspend, page.cancel_at, page.cancel_reason, page.phase,
           page.reason, page.message, page.deadline, page.created_at, page.started_at, page.ended_at,
           page.generation, page.resource_version, coalesce(tasks.counts, '{}') AS tasks,
           coalesce(live.counts, '{}') AS live, coalesce((dag.spec->>'suspend')::boolean, false) AS dag_suspended
"""

_RUN_PAGE: LiteralString = (
    """
      FROM (SELECT * FROM run
             WHERE namespace = %(namespace)s
               AND (%(name)s::text IS NULL OR name = %(name)s)
               AND (%(dag)s::text IS NULL OR dag = %(dag)s)
               AND (%(phase)s::text IS NULL OR phase = %(phase)s)
               AND (%(after_time)s::timestamptz IS NULL
                    OR (created_at, uid) < (%(after_time)s::timestamptz, %(after_uid)s))
               AND """  # noqa: S608 - both parts are constants
    + LABELS_MATCH
    + " AND "
    + IN_SCOPE_OF_RUN
    + """
             ORDER BY created_at DESC, uid DESC
             LIMIT %(limit)s) AS page
"""
)

_UNFINISHED_PAGE: LiteralString = """
      FROM (SELECT * FROM run WHERE ended_at IS NULL ORDER BY dag_uid, created_at, uid LIMIT %(limit)s) AS page
"""

_RUN_JOINS: LiteralString = """
      JOIN resource dag ON dag.uid = page.dag_uid
      LEFT JOIN LATERAL (
            SELECT jsonb_object_agg(phase, n) AS counts
              FROM (SELECT phase, count(*) AS n FROM task_run WHERE run_uid = page.uid GROUP BY phase) AS c
           ) AS tasks ON true
      LEFT JOIN LATERAL (
            SELECT jsonb_object_agg(phase, n) AS counts
              FROM (SELECT phase, count(*) AS n FROM attempt
                     WHERE run_uid = page.uid AND ended_at IS NULL GROUP BY phase) AS c
           ) AS live ON true
     ORDER BY page.created_at DESC, page.uid DESC
"""

_RUNS: LiteralString = _RUN_COLUMNS + _RUN_PAGE + _RUN_JOINS
_UNFINISHED_RUNS: LiteralString = _RUN_COLUMNS + _UNFINISHED_PAGE + _RUN_JOINS

_RUN_NAME: LiteralString = "SELECT name FROM run WHERE dag_uid = %(dag)s AND key = %(key)s"

_RUN_UID: LiteralString = "SELECT uid FROM run WHERE namespace = %(namespace)s AND name = %(name)s"

_TASK_COLUMNS: LiteralString = """
    SELECT task_run.run_uid, run.name AS run, run.phase AS run_phase, run.namespace, run.dag_uid, run.dag,
           run.revision, task_run.task, task_run.idx AS index, task_run.pool_uid,
           coalesce(pool.name, task_run.pool_uid) AS pool, task_run.phase, task_run.held,
           task_run.user_failures, task_run.infrastructure_failures, task_run.evictions,
           task_run.not_before, task_run.ready_at, task_run.started_at, task_run.ended_at, task_run.outputs,
           task_run.reason, task_run.message, task_run.generation, run.created_at,
           seen.trouble_reason AS pool_trouble_reason, seen.trouble_message AS pool_trouble_message
      FROM run
      JOIN task_run ON task_run.run_uid = run.uid
      LEFT JOIN resource pool ON pool.uid = task_run.pool_uid
      LEFT JOIN pool_observation seen ON seen.pool_uid = task_run.pool_uid
"""

_TASKS: LiteralString = (
    _TASK_COLUMNS
    + """
     WHERE run.namespace = %(namespace)s
       AND (%(run)s::text IS NULL OR run.name = %(run)s)
       AND (%(dag)s::text IS NULL OR run.dag = %(dag)s)
       AND (%(task)s::text IS NULL OR task_run.task = %(task)s)
       AND (%(index)s::int IS NULL OR task_run.idx = %(index)s)
       AND (%(phase)s::text IS NULL OR task_run.phase = %(phase)s)
       AND (%(after_run)s::text IS NULL OR task_run.run_uid < %(after_run)s
            OR task_run.run_uid = %(after_run)s
               AND (task_run.task, task_run.idx) > (%(after_task)s, %(after_index)s::int))
       AND """
    + LABELS_MATCH.replace("labels", "run.labels")
    + " AND "
    + IN_SCOPE_OF_RUN
    + """
     ORDER BY task_run.run_uid DESC, task_run.task, task_run.idx
     LIMIT %(limit)s
"""
)

# What waits for an upstream task says nothing that its run does not.
_ACTIVE_TASKS: LiteralString = (
    _TASK_COLUMNS
    + """
     WHERE task_run.ended_at IS NULL AND task_run.phase <> 'Waiting'
     ORDER BY task_run.run_uid, task_run.task
     LIMIT %(limit)s
"""
)

# The newest attempts of each task, oldest first.
_ATTEMPTS: LiteralString = """
    SELECT wanted.n, newest.id, newest.number, newest.phase, newest.delivery, newest.worker, newest.reason,
           newest.message, newest.created_at, newest.sent_at, newest.claimed_at, newest.cancel_at, newest.ended_at,
           (SELECT worker.ecs_task FROM worker WHERE worker.id = newest.worker)
      FROM unnest(%(runs)s::text[], %(tasks)s::text[], %(idxs)s::int[]) WITH ORDINALITY AS wanted(run, task, idx, n)
     CROSS JOIN LATERAL (
            SELECT * FROM attempt
             WHERE run_uid = wanted.run AND task = wanted.task AND idx = wanted.idx
             ORDER BY number DESC
             LIMIT %(limit)s) AS newest
     ORDER BY wanted.n, newest.number
"""

_NEEDS: LiteralString = """
    SELECT wanted.n, array_agg(edge.upstream ORDER BY edge.upstream)
      FROM unnest(%(dags)s::text[], %(revisions)s::bigint[], %(tasks)s::text[])
           WITH ORDINALITY AS wanted(dag_uid, generation, task, n)
      JOIN revision_edge edge USING (dag_uid, generation, task)
     GROUP BY wanted.n
"""

_DAGS: LiteralString = """
    SELECT dag.uid, (SELECT max(generation) FROM revision WHERE dag_uid = dag.uid), live.running, live.pending,
           last.name, last.phase
      FROM resource dag
     CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE phase = 'Running') AS running,
                   count(*) FILTER (WHERE phase = 'Pending') AS pending
              FROM run WHERE dag_uid = dag.uid AND ended_at IS NULL) AS live
      LEFT JOIN LATERAL (
            SELECT name, phase FROM run WHERE dag_uid = dag.uid ORDER BY created_at DESC, uid DESC LIMIT 1
           ) AS last ON true
     WHERE dag.uid = ANY(%(uids)s)
"""

_POOLS: LiteralString = """
    SELECT pool.uid, live.n, live.n + waiting.n, workers.n,
           coalesce(seen.visible, 0), coalesce(seen.in_flight, 0), coalesce(seen.dead_letters, 0),
           seen.desired, seen.running, seen.observed_at, seen.trouble_reason, seen.trouble_message
      FROM resource pool
      LEFT JOIN pool_observation seen ON seen.pool_uid = pool.uid
     CROSS JOIN LATERAL (
            SELECT count(*) AS n FROM attempt WHERE pool_uid = pool.uid AND ended_at IS NULL) AS live
     CROSS JOIN LATERAL (
            SELECT count(*) AS n FROM task_run
             WHERE pool_uid = pool.uid AND phase = 'Ready' AND NOT held) AS waiting
     CROSS JOIN LATERAL (
            SELECT count(*) AS n FROM worker
             WHERE pool_uid = pool.uid AND ended_at IS NULL AND heartbeat_by > %(now)s) AS workers
     WHERE pool.uid = ANY(%(uids)s)
"""

_DATASETS: LiteralString = """
    SELECT state.dataset_uid, state.version,
           CASE WHEN resource.spec->>'tier' = 'hot' THEN greatest(coalesce(hot.reltuples, 0)::bigint, 0)
                ELSE state.rows END,
           CASE WHEN resource.spec->>'tier' = 'hot' THEN coalesce(pg_table_size(hot.oid), 0) ELSE state.bytes END,
           state.files, state.partitions, run.name, state.updated_at
      FROM dataset_state state
      JOIN resource ON resource.uid = state.dataset_uid
      LEFT JOIN pg_class hot ON hot.relnamespace = 'hot'::regnamespace
                            AND hot.relname = hot_table(resource.namespace, resource.name)
      LEFT JOIN attempt ON attempt.id = state.attempt
      LEFT JOIN run ON run.uid = attempt.run_uid
     WHERE state.dataset_uid = ANY(%(uids)s)
"""

_LIVE_ATTEMPTS: LiteralString = """
    SELECT count(*) FROM attempt WHERE dag_uid = %(dag)s AND ended_at IS NULL
"""

# The newest attempts of a run, oldest first.
_RUN_ATTEMPTS: LiteralString = """
    SELECT * FROM (
        SELECT id, task, idx, number, ended_at IS NOT NULL, created_at
          FROM attempt
         WHERE run_uid = %(run)s
           AND (%(task)s::text IS NULL OR task = %(task)s AND idx = %(index)s)
         ORDER BY created_at DESC, id
         LIMIT %(limit)s) AS newest
     ORDER BY created_at, id
"""

ATTEMPTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """An attempt whose log is asked for. `final`: it writes no more."""

    id: AttemptId
    task: str
    index: int
    number: int
    final: bool


def runs(connection: psycopg.Connection, selection: Selection) -> list[ObservedRun]:
    """Return the selected runs, newest first."""
    created, uid = selection.after or (None, None)
    rows = _named(
        connection,
        _RUNS,
        {
            "namespace": selection.namespace,
            "name": selection.name,
            "dag": selection.dag,
            "phase": selection.phase,
            "after_time": created,
            "after_uid": uid,
            "limit": selection.limit,
        }
        | selection.labels.params()
        | scope_params(selection.scope),
    )
    return [_run(row) for row in rows]


def run(connection: psycopg.Connection, namespace: str, name: str) -> ObservedRun | None:
    """Return one run."""
    found = runs(connection, Selection(namespace, name=name, limit=1))
    return found[0] if found else None


def run_name(connection: psycopg.Connection, dag_uid: str, key: str) -> str:
    """Return the name of the run that a DAG has under a key."""
    row = connection.execute(_RUN_NAME, {"dag": dag_uid, "key": key}).fetchone()
    if row is None:
        raise NotFound(f"there is no run with the key {key!r}")
    name: str = row[0]
    return name


def run_uid(connection: psycopg.Connection, namespace: str, name: str) -> RunUid:
    """Return the uid of a run; raise NotFound."""
    row = connection.execute(_RUN_UID, {"namespace": namespace, "name": name}).fetchone()
    if row is None:
        raise NotFound(f"there is no DagRun {name!r} in namespace {namespace!r}")
    return RunUid(row[0])


def tasks(
    connection: psycopg.Connection,
    selection: Selection,
    *,
    index: int | None = None,
    attempts: int = ATTEMPTS_SHOWN,
) -> list[ObservedTask]:
    """Return the selected task runs by run (newest first) and task, each with its newest attempts."""
    after_run, after_task, after_index = selection.after or (None, None, None)
    rows = _named(
        connection,
        _TASKS,
        {
            "namespace": selection.namespace,
            "run": selection.run,
            "dag": selection.dag,
            "task": selection.task,
            "index": index,
            "phase": selection.phase,
            "after_run": after_run,
            "after_task": after_task,
            "after_index": after_index,
            "limit": selection.limit,
        }
        | selection.labels.params()
        | scope_params(selection.scope),
    )
    return _with_attempts(connection, rows, attempts)


def unfinished_runs(connection: psycopg.Connection, limit: int) -> list[ObservedRun]:
    """Return unfinished runs of all namespaces, by the index of those."""
    return [_run(row) for row in _named(connection, _UNFINISHED_RUNS, {"limit": limit})]


def active_tasks(connection: psycopg.Connection, limit: int) -> list[ObservedTask]:
    """Return unfinished tasks of all namespaces that wait for no other task, each with its newest attempt."""
    return _with_attempts(connection, _named(connection, _ACTIVE_TASKS, {"limit": limit}), 1)


def _with_attempts(connection: psycopg.Connection, rows: list[dict[str, Any]], attempts: int) -> list[ObservedTask]:
    history = _attempts(connection, rows, attempts)
    needs = _needs(connection, rows)
    return [_task(row, needs.get(n, ()), history.get(n, ())) for n, row in enumerate(rows, 1)]


def dags(connection: psycopg.Connection, uids: Sequence[str]) -> dict[str, ObservedDag]:
    """Return how Dags stand, by uid, without their next ticks."""
    rows = connection.execute(_DAGS, {"uids": list(uids)})
    return {row[0]: ObservedDag(row[1] or 0, *row[2:6]) for row in rows}


def pools(connection: psycopg.Connection, uids: Sequence[str], now: datetime) -> dict[str, ObservedPool]:
    """Return how WorkerPools stand, by uid."""
    return {row[0]: ObservedPool(*row[1:12]) for row in connection.execute(_POOLS, {"uids": list(uids), "now": now})}


def datasets(connection: psycopg.Connection, uids: Sequence[str]) -> dict[str, ObservedDataset]:
    """Return what Datasets hold, by uid; a hot table's rows are Postgres's estimate."""
    return {row[0]: ObservedDataset(*row[1:8]) for row in connection.execute(_DATASETS, {"uids": list(uids)})}


def live_attempts(connection: psycopg.Connection, dag_uid: str) -> int:
    """Return how many attempts of a DAG are live."""
    row = connection.execute(_LIVE_ATTEMPTS, {"dag": dag_uid}).fetchone()
    return 0 if row is None else int(row[0])


def logged_attempts(
    connection: psycopg.Connection, run: RunUid, task: tuple[str, int] | None, limit: int
) -> list[LoggedAttempt]:
    """Return the newest attempts of a run or of one of its tasks, oldest first."""
    name, index = task or (None, None)
    rows = connection.execute(_RUN_ATTEMPTS, {"run": run, "task": name, "index": index, "limit": limit})
    return [LoggedAttempt(AttemptId(row[0]), row[1], row[2], row[3], row[4]) for row in rows]


def _named(connection: psycopg.Connection, query: LiteralString, params: dict[str, object]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, params).fetchall()


def _run(row: dict[str, Any]) -> ObservedRun:
    decoded: dict[str, Any] = {
        "phase": RunPhase(row["phase"]),
        "tasks": {TaskPhase(phase): n for phase, n in row["tasks"].items()},
        "live": {AttemptPhase(phase): n for phase, n in row["live"].items()},
    }
    return ObservedRun(**row | decoded)


def _task(row: dict[str, Any], needs: tuple[str, ...], attempts: tuple[ObservedAttempt, ...]) -> ObservedTask:
    decoded: dict[str, Any] = {"phase": TaskPhase(row["phase"]), "run_phase": RunPhase(row["run_phase"])}
    return ObservedTask(**row | decoded, needs=needs, attempts=attempts)


def _attempts(
    connection: psycopg.Connection, rows: Sequence[dict[str, Any]], limit: int
) -> dict[int, tuple[ObservedAttempt, ...]]:
    if not rows or not limit:
        return {}
    found: dict[int, list[ObservedAttempt]] = {}
    params = {
        "runs": [r["run_uid"] for r in rows],
        "tasks": [r["task"] for r in rows],
        "idxs": [r["index"] for r in rows],
        "limit": limit,
    }
    for n, uid, number, phase, *rest in connection.execute(_ATTEMPTS, params):
        attempt = ObservedAttempt(AttemptId(uid), number, AttemptPhase(phase), *rest)
        found.setdefault(n, []).append(attempt)
    return {n: tuple(attempts) for n, attempts in found.items()}


def _needs(connection: psycopg.Connection, rows: Sequence[dict[str, Any]]) -> dict[int, tuple[str, ...]]:
    if not rows:
        return {}
    params = {
        "dags": [r["dag_uid"] for r in rows],
        "revisions": [r["revision"] for r in rows],
        "tasks": [r["task"] for r in rows],
    }
    return {row[0]: tuple(row[1]) for row in connection.execute(_NEEDS, params)}
