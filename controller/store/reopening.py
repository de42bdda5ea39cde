"""Open an ended run again: the run itself, and the tasks that the decision names."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from crds.names import RunUid
from crds.phases import TaskPhase

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    import psycopg

    from controller.diff.retry import TaskItem

_LOCK: LiteralString = """
    SELECT uid FROM run WHERE namespace = %(namespace)s AND name = %(name)s FOR NO KEY UPDATE
"""

_PHASES: LiteralString = "SELECT task, idx, phase FROM task_run WHERE run_uid = %(run)s ORDER BY task, idx"

# Only a run that is still ended: its `now` deadline is counted anew, and what asked for its end is forgotten.
_RUN: LiteralString = """
    UPDATE run
       SET phase = 'Running', ended_at = NULL, cancel_at = NULL, cancel_reason = NULL, reason = NULL, message = NULL,
           ended_before = CASE WHEN phase = 'Cancelled' THEN ended_before ELSE phase END,
           deadline = %(now)s + %(timeout)s, generation = generation + 1,
           resource_version = nextval('resource_version')
     WHERE uid = %(run)s AND ended_at IS NOT NULL
"""

# `number` stays, so that the ids of new attempts never meet the old ones'.
_TASKS: LiteralString = """
    UPDATE task_run
       SET phase = again.phase, fresh = false, held = again.phase = 'Ready' AND run.suspend,
           user_failures = 0, infrastructure_failures = 0, evictions = 0, not_before = NULL,
           above_succeeded = 0, above_failed = 0, above_skipped = 0,
           ready_at = CASE WHEN again.phase = 'Ready' THEN %(now)s END,
           started_at = NULL, ended_at = NULL, outputs = NULL, versions = NULL, reason = NULL, message = NULL,
           generation = task_run.generation + 1
      FROM unnest(%(tasks)s::text[], %(idxs)s::int[], %(phases)s::text[]) AS again(task, idx, phase), run
     WHERE run.uid = %(run)s AND task_run.run_uid = run.uid
       AND task_run.task = again.task AND task_run.idx = again.idx AND task_run.ended_at IS NOT NULL
 RETURNING task_run.pool_uid
"""

# What a reopened task waits for, counted anew; what is fresh will be counted by the next pass.
_RECOUNT: LiteralString = """
    UPDATE task_run waiting
       SET above_succeeded = above.succeeded, above_failed = above.failed, above_skipped = above.skipped
      FROM (SELECT edge.task,
                   count(*) FILTER (WHERE up.phase = 'Succeeded') AS succeeded,
                   count(*) FILTER (WHERE up.phase IN ('Failed', 'UpstreamFailed', 'Cancelled')) AS failed,
                   count(*) FILTER (WHERE up.phase = 'Skipped') AS skipped
              FROM run
              JOIN task_run up ON up.run_uid = run.uid AND up.ended_at IS NOT NULL AND NOT up.fresh
              JOIN revision_edge edge
                ON edge.dag_uid = run.dag_uid AND edge.generation = run.revision AND edge.upstream = up.task
             WHERE run.uid = %(run)s
             GROUP BY edge.task) AS above
     WHERE waiting.run_uid = %(run)s AND waiting.task = above.task AND waiting.phase = 'Waiting'
"""

_SUSPEND: LiteralString = """
    UPDATE run
       SET suspend = %(suspend)s, generation = generation + 1, resource_version = nextval('resource_version')
     WHERE uid = %(run)s AND suspend <> %(suspend)s AND ended_at IS NULL
"""


def lock(connection: psycopg.Connection, namespace: str, name: str) -> RunUid | None:
    """Lock a run, ended or not, and return its uid."""
    row = connection.execute(_LOCK, {"namespace": namespace, "name": name}).fetchone()
    return None if row is None else RunUid(row[0])


def phases(connection: psycopg.Connection, run: RunUid) -> dict[TaskItem, TaskPhase]:
    """Return the phase of each task of a run."""
    return {(row[0], row[1]): TaskPhase(row[2]) for row in connection.execute(_PHASES, {"run": run})}


def reopen(
    connection: psycopg.Connection, run: RunUid, tasks: Mapping[TaskItem, TaskPhase], timeout: timedelta, now: datetime
) -> set[str]:
    """Open a locked run and tasks of it with fresh budgets; return the pools concerned."""
    connection.execute(_RUN, {"run": run, "timeout": timeout, "now": now})
    items = sorted(tasks)
    rows = connection.execute(
        _TASKS,
        {
            "run": run,
            "tasks": [item[0] for item in items],
            "idxs": [item[1] for item in items],
            "phases": [tasks[item] for item in items],
            "now": now,
        },
    )
    connection.execute(_RECOUNT, {"run": run})
    return {row[0] for row in rows}


def suspend(connection: psycopg.Connection, run: RunUid, *, suspended: bool) -> bool:
    """Suspend or resume an unfinished run; return whether that changed it."""
    return connection.execute(_SUSPEND, {"run": run, "suspend": suspended}).rowcount > 0
