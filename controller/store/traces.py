"""What a trace tells of ended attempts, tasks and runs, from their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from controller.runtime.traces import AttemptEnd, RunEnd, TaskEnd
from crds.names import AttemptId, RunUid
from crds.phases import AttemptPhase, RunPhase, TaskPhase

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

TASKS_LIMIT = 10_000
"""How many tasks of ended runs that never had an attempt are read at once; spans of more are not sent."""

_ATTEMPTS: LiteralString = """
    SELECT attempt.id, attempt.run_uid, attempt.task, attempt.idx, attempt.number, run.dag, run.name, run.namespace,
           coalesce(pool.name, attempt.pool_uid), attempt.phase, attempt.reason, attempt.message, attempt.worker,
           attempt.delivery, attempt.created_at, attempt.sent_at, attempt.claimed_at, attempt.ended_at,
           coalesce(pool.spec ->> 'runtime' = 'lambda', false)
      FROM attempt
      JOIN run ON run.uid = attempt.run_uid
      LEFT JOIN resource pool ON pool.uid = attempt.pool_uid
     WHERE attempt.id = ANY(%(ids)s) AND attempt.ended_at IS NOT NULL
"""

_TASKS: LiteralString = """
    SELECT task_run.run_uid, task_run.task, task_run.idx, task_run.number, run.dag, run.name, run.namespace,
           coalesce(pool.name, task_run.pool_uid), task_run.phase, task_run.reason, task_run.message, task_run.ready_at,
           task_run.started_at, task_run.ended_at
      FROM task_run
      JOIN run ON run.uid = task_run.run_uid
      LEFT JOIN resource pool ON pool.uid = task_run.pool_uid
"""

_TASKS_OF: LiteralString = """
      JOIN unnest(%(runs)s::text[], %(tasks)s::text[], %(idxs)s::int[]) AS ended(run_uid, task, idx)
     USING (run_uid, task, idx)
     WHERE task_run.ended_at IS NOT NULL
"""

# What ended with an attempt is told of with that attempt.
_TASKS_WITHOUT: LiteralString = """
     WHERE task_run.run_uid = ANY(%(runs)s) AND task_run.ended_at IS NOT NULL
       AND NOT EXISTS (SELECT FROM attempt
                        WHERE attempt.run_uid = task_run.run_uid AND attempt.task = task_run.task
                          AND attempt.idx = task_run.idx AND attempt.ended_at = task_run.ended_at)
     LIMIT %(limit)s
"""

_RUNS: LiteralString = """
    SELECT uid, name, namespace, dag, trigger, schedule, phase, reason, message, traceparent, created_at, ended_at
      FROM run WHERE uid = ANY(%(runs)s) AND ended_at IS NOT NULL
"""

_TASKS_ENDED: LiteralString = _TASKS + _TASKS_OF
_TASKS_LEFT: LiteralString = _TASKS + _TASKS_WITHOUT


def attempts(connection: psycopg.Connection, ids: Sequence[AttemptId]) -> list[AttemptEnd]:
    """Return those of the attempts that have ended."""
    return [_attempt(r) for r in connection.execute(_ATTEMPTS, {"ids": list(ids)})]


def tasks(connection: psycopg.Connection, ended: Sequence[AttemptEnd]) -> list[TaskEnd]:
    """Return the tasks of attempts that have ended, too."""
    keys = sorted({(a.run, a.task, a.index) for a in ended})
    values = {"runs": [k[0] for k in keys], "tasks": [k[1] for k in keys], "idxs": [k[2] for k in keys]}
    return [_task(r) for r in connection.execute(_TASKS_ENDED, values)]


def unattempted(connection: psycopg.Connection, uids: Sequence[RunUid]) -> list[TaskEnd]:
    """Return the tasks of runs that ended by no attempt: skipped, cancelled, without a chance."""
    return [_task(r) for r in connection.execute(_TASKS_LEFT, {"runs": list(uids), "limit": TASKS_LIMIT})]


def runs(connection: psycopg.Connection, uids: Sequence[RunUid]) -> list[RunEnd]:
    """Return those of the runs that have ended."""
    return [_run(r) for r in connection.execute(_RUNS, {"runs": list(uids)})]


def _attempt(row: tuple[Any, ...]) -> AttemptEnd:
    attempt, run, task, index, number, dag, name, namespace, pool, phase, *rest = row
    reason, message, worker, delivery, created_at, sent_at, claimed_at, ended_at, invoked = rest
    return AttemptEnd(
        AttemptId(attempt),
        RunUid(run),
        task,
        index,
        number,
        dag,
        name,
        namespace,
        pool,
        AttemptPhase(phase),
        reason,
        message,
        worker,
        delivery,
        created_at,
        sent_at,
        claimed_at,
        ended_at,
        invoked,
    )


def _task(row: tuple[Any, ...]) -> TaskEnd:
    run, task, index, number, dag, name, namespace, pool, phase, reason, message, ready_at, started_at, ended_at = row
    return TaskEnd(
        RunUid(run),
        task,
        index,
        number,
        dag,
        name,
        namespace,
        pool,
        TaskPhase(phase),
        reason,
        message,
        ready_at,
        started_at,
        ended_at,
    )


def _run(row: tuple[Any, ...]) -> RunEnd:
    uid, name, namespace, dag, trigger, schedule, phase, reason, message, traceparent, created_at, ended_at = row
    return RunEnd(
        RunUid(uid),
        name,
        namespace,
        dag,
        trigger,
        schedule,
        RunPhase(phase),
        reason,
        message,
        traceparent,
        created_at,
        ended_at,
    )
