"""Table task_run: the frontier of runs (what can change), and the steps that tasks take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from controller.actions import TaskKey, TaskStep
from controller.diff.rules import Upstream
from controller.diff.runs import BackedOff, Tally
from crds.names import DagUid, RunUid
from crds.phases import TaskPhase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import psycopg

# Waiting tasks of which an upstream task has just ended, each with the phases of all that it needs.
_CANDIDATES: LiteralString = """
    WITH fresh AS (
        SELECT run_uid, task FROM task_run WHERE run_uid = ANY(%(runs)s) AND fresh
    ), candidate AS (
        SELECT DISTINCT fresh.run_uid, run.dag_uid, run.revision, edge.task
          FROM fresh
          JOIN run ON run.uid = fresh.run_uid
          JOIN revision_edge edge
            ON edge.dag_uid = run.dag_uid AND edge.generation = run.revision AND edge.upstream = fresh.task
    )
    SELECT waiting.run_uid, waiting.task, waiting.idx, counted.*
      FROM candidate
      JOIN task_run waiting
        ON waiting.run_uid = candidate.run_uid AND waiting.task = candidate.task AND waiting.phase = 'Waiting'
     CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE up.ended_at IS NULL) AS unfinished,
               count(*) FILTER (WHERE up.phase = 'Succeeded') AS succeeded,
               count(*) FILTER (WHERE up.phase IN ('Failed', 'UpstreamFailed', 'Cancelled')) AS failed,
               count(*) FILTER (WHERE up.phase = 'Skipped') AS skipped
          FROM revision_edge edge
          JOIN task_run up ON up.run_uid = candidate.run_uid AND up.task = edge.upstream
         WHERE edge.dag_uid = candidate.dag_uid AND edge.generation = candidate.revision
           AND edge.task = candidate.task) AS counted
"""

_FRESH: LiteralString = "SELECT run_uid, task, idx FROM task_run WHERE run_uid = ANY(%(runs)s) AND fresh"

_SETTLED: LiteralString = """
    UPDATE task_run SET fresh = false
      FROM unnest(%(runs)s::text[], %(tasks)s::text[], %(idxs)s::int[]) AS seen(run_uid, task, idx)
     WHERE task_run.run_uid = seen.run_uid AND task_run.task = seen.task AND task_run.idx = seen.idx AND task_run.fresh
"""

_BACKED_OFF: LiteralString = """
    SELECT run_uid, task, idx, not_before, user_failures, infrastructure_failures, evictions
      FROM task_run
     WHERE run_uid = ANY(%(runs)s) AND ended_at IS NULL AND phase = 'Backoff'
"""

_TALLY: LiteralString = """
    SELECT run.uid, tally.failures, tally.cancelled, tally.failed
      FROM unnest(%(runs)s::text[]) AS run(uid)
     CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE phase IN ('Failed', 'UpstreamFailed')) AS failures,
               count(*) FILTER (WHERE phase = 'Cancelled') AS cancelled,
               (array_agg(task ORDER BY ended_at) FILTER (WHERE phase = 'Failed'))[1:5] AS failed
          FROM task_run WHERE run_uid = run.uid) AS tally
     WHERE NOT EXISTS (SELECT FROM task_run WHERE run_uid = run.uid AND ended_at IS NULL)
"""

_STEP: LiteralString = """
    UPDATE task_run
       SET phase = step.phase, reason = step.reason, message = step.message, not_before = step.not_before,
           user_failures = step.user_failures, infrastructure_failures = step.infrastructure_failures,
           evictions = step.evictions,
           held = step.phase = 'Ready' AND run.suspend,
           ready_at = CASE WHEN step.phase = 'Ready' THEN %(now)s ELSE task_run.ready_at END,
           ended_at = CASE WHEN step.final THEN %(now)s END,
           fresh = step.final
      FROM unnest(%(runs)s::text[], %(tasks)s::text[], %(idxs)s::int[], %(seen)s::text[], %(phases)s::text[],
                  %(reasons)s::text[], %(messages)s::text[], %(not_befores)s::timestamptz[], %(users)s::int[],
                  %(infrastructures)s::int[], %(evictions)s::int[], %(finals)s::bool[])
           AS step(run_uid, task, idx, seen, phase, reason, message, not_before, user_failures,
                   infrastructure_failures, evictions, final)
      JOIN run ON run.uid = step.run_uid
     WHERE task_run.run_uid = step.run_uid AND task_run.task = step.task AND task_run.idx = step.idx
       AND task_run.phase = step.seen
 RETURNING task_run.run_uid, task_run.task, task_run.idx, task_run.pool_uid
"""

_CANCEL: LiteralString = """
    UPDATE task_run
       SET phase = 'Cancelled', reason = 'Cancelled', ended_at = %(now)s, not_before = NULL, held = false
     WHERE run_uid = ANY(%(runs)s) AND ended_at IS NULL AND phase = ANY(%(phases)s)
 RETURNING run_uid
"""

_HOLD: LiteralString = """
    UPDATE task_run SET held = run.suspend
      FROM run
     WHERE run.uid = ANY(%(runs)s) AND task_run.run_uid = run.uid AND task_run.ended_at IS NULL
       AND task_run.phase = 'Ready' AND task_run.held <> run.suspend
 RETURNING task_run.pool_uid
"""

_CREATE: LiteralString = """
    INSERT INTO task_run (run_uid, task, dag_uid, pool_uid, phase, priority, ready_at, held)
    SELECT run.uid, new.task, run.dag_uid, new.pool_uid, new.phase, new.priority,
           CASE WHEN new.phase = 'Ready' THEN %(now)s END, new.phase = 'Ready' AND run.suspend
      FROM run, unnest(%(tasks)s::text[], %(pools)s::text[], %(phases)s::text[], %(priorities)s::int[])
                AS new(task, pool_uid, phase, priority)
     WHERE run.uid = ANY(%(runs)s)
    ON CONFLICT DO NOTHING
"""

_BACKOFF_DUE: LiteralString = """
    SELECT DISTINCT run_uid FROM task_run WHERE phase = 'Backoff' AND not_before <= %(now)s LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task of a run that starts."""

    task: str
    pool_uid: str
    phase: TaskPhase
    priority: int


def fresh(connection: psycopg.Connection, runs: Sequence[RunUid]) -> list[TaskKey]:
    """Return the tasks that ended and whose downstream nobody has looked at since."""
    return [TaskKey(RunUid(r[0]), r[1], r[2]) for r in connection.execute(_FRESH, {"runs": list(runs)})]


def candidates(connection: psycopg.Connection, runs: Sequence[RunUid]) -> list[tuple[TaskKey, Upstream]]:
    """Return the waiting tasks below the fresh ones, with how their upstream tasks stand."""
    rows = connection.execute(_CANDIDATES, {"runs": list(runs)})
    return [(TaskKey(RunUid(r[0]), r[1], r[2]), Upstream(*r[3:7])) for r in rows]


def settled(connection: psycopg.Connection, keys: Iterable[TaskKey]) -> None:
    """Record that the downstream of these ended tasks has been looked at."""
    seen = list(keys)
    if seen:
        connection.execute(_SETTLED, _columns(seen))


def backed_off(connection: psycopg.Connection, runs: Sequence[RunUid]) -> list[BackedOff]:
    """Return the tasks that wait for their next try."""
    rows = connection.execute(_BACKED_OFF, {"runs": list(runs)})
    return [BackedOff(TaskKey(RunUid(r[0]), r[1], r[2]), *r[3:7]) for r in rows]


def tallies(connection: psycopg.Connection, runs: Sequence[RunUid]) -> dict[RunUid, Tally]:
    """Return how the tasks of those runs stand that have none unfinished."""
    rows = connection.execute(_TALLY, {"runs": list(runs)})
    return {RunUid(r[0]): Tally(tuple(r[3] or ()), r[1], r[2]) for r in rows}


def step(connection: psycopg.Connection, steps: Sequence[TaskStep], now: datetime) -> dict[TaskKey, str]:
    """Take steps whose tasks are still as they were seen; return those taken, with their pool."""
    if not steps:
        return {}
    final = {
        TaskPhase.SUCCEEDED,
        TaskPhase.FAILED,
        TaskPhase.UPSTREAM_FAILED,
        TaskPhase.SKIPPED,
        TaskPhase.CANCELLED,
    }
    rows = connection.execute(
        _STEP,
        _columns([s.key for s in steps])
        | {
            "seen": [s.seen for s in steps],
            "phases": [s.phase for s in steps],
            "reasons": [s.reason for s in steps],
            "messages": [s.message or None for s in steps],
            "not_befores": [s.not_before for s in steps],
            "users": [s.user_failures for s in steps],
            "infrastructures": [s.infrastructure_failures for s in steps],
            "evictions": [s.evictions for s in steps],
            "finals": [s.phase in final for s in steps],
            "now": now,
        },
    )
    return {TaskKey(RunUid(r[0]), r[1], r[2]): r[3] for r in rows}


def cancel(
    connection: psycopg.Connection, runs: Sequence[RunUid], phases: Iterable[TaskPhase], now: datetime
) -> set[RunUid]:
    """Cancel all tasks of runs that are in one of the phases; return the runs that had any."""
    rows = connection.execute(_CANCEL, {"runs": list(runs), "phases": [str(p) for p in phases], "now": now})
    return {RunUid(r[0]) for r in rows}


def hold(connection: psycopg.Connection, runs: Sequence[RunUid]) -> set[str]:
    """Hold or release the ready tasks of runs as their `suspend` says; return the pools concerned."""
    return {r[0] for r in connection.execute(_HOLD, {"runs": list(runs)})}


def create(connection: psycopg.Connection, runs: Sequence[RunUid], tasks: Sequence[NewTask], now: datetime) -> None:
    """Create the task runs of runs of one revision; doing it twice is harmless."""
    connection.execute(
        _CREATE,
        {
            "runs": list(runs),
            "tasks": [t.task for t in tasks],
            "pools": [t.pool_uid for t in tasks],
            "phases": [t.phase for t in tasks],
            "priorities": [t.priority for t in tasks],
            "now": now,
        },
    )


def backoff_due(connection: psycopg.Connection, now: datetime, limit: int) -> list[RunUid]:
    """Return runs with a task whose next try is due."""
    return [RunUid(r[0]) for r in connection.execute(_BACKOFF_DUE, {"now": now, "limit": limit})]


_FACTS: LiteralString = """
    SELECT task_run.run_uid, task_run.task, task_run.idx, task_run.phase, task_run.number, task_run.user_failures,
           task_run.infrastructure_failures, task_run.evictions, run.cancel_at IS NOT NULL, run.dag_uid, run.revision,
           run.namespace, run.name
      FROM unnest(%(runs)s::text[], %(tasks)s::text[], %(idxs)s::int[]) AS wanted(run_uid, task, idx)
      JOIN task_run USING (run_uid, task, idx)
      JOIN run ON run.uid = task_run.run_uid
"""


@dataclass(frozen=True, slots=True)
class FactsRow:
    """What `settle` needs of a task, without its retries (they stand in the revision)."""

    key: TaskKey
    phase: TaskPhase
    number: int
    user_failures: int
    infrastructure_failures: int
    evictions: int
    cancelled: bool
    dag_uid: DagUid
    revision: int
    namespace: str
    run_name: str


def facts(connection: psycopg.Connection, keys: Sequence[TaskKey]) -> Mapping[TaskKey, FactsRow]:
    """Return what is known of tasks."""
    rows = connection.execute(_FACTS, _columns(keys))
    found = (
        FactsRow(
            key=TaskKey(RunUid(r[0]), r[1], r[2]),
            phase=TaskPhase(r[3]),
            number=r[4],
            user_failures=r[5],
            infrastructure_failures=r[6],
            evictions=r[7],
            cancelled=r[8],
            dag_uid=DagUid(r[9]),
            revision=r[10],
            namespace=r[11],
            run_name=r[12],
        )
        for r in rows
    )
    return {f.key: f for f in found}


_SUCCEED: LiteralString = """
    UPDATE task_run SET outputs = attempt.outputs, versions = attempt.versions
      FROM attempt
     WHERE attempt.id = ANY(%(attempts)s) AND task_run.run_uid = attempt.run_uid AND task_run.task = attempt.task
       AND task_run.idx = attempt.idx AND task_run.number = attempt.number AND attempt.phase = 'Succeeded'
"""

_BOOKMARK: LiteralString = """
    INSERT INTO bookmark (dag_uid, task, value, attempt)
    SELECT DISTINCT ON (dag_uid, task) dag_uid, task, bookmark, id
      FROM attempt
     WHERE id = ANY(%(attempts)s) AND phase = 'Succeeded' AND bookmark IS NOT NULL
     ORDER BY dag_uid, task, claimed_at DESC
        ON CONFLICT (dag_uid, task) DO UPDATE SET value = excluded.value, attempt = excluded.attempt
"""


def publish(connection: psycopg.Connection, attempts: Sequence[str]) -> None:
    """Make what successful attempts put out visible: outputs and versions downstream, bookmarks to the next run."""
    if attempts:
        connection.execute(_SUCCEED, {"attempts": list(attempts)})
        connection.execute(_BOOKMARK, {"attempts": list(attempts)})


def _columns(keys: Sequence[TaskKey]) -> dict[str, object]:
    return {"runs": [k.run for k in keys], "tasks": [k.task for k in keys], "idxs": [k.index for k in keys]}
