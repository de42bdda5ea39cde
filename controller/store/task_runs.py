"""Table task_run: the frontier of runs (what can change), and the steps that tasks take."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, LiteralString

from controller.actions import TaskKey, TaskStep
from controller.diff.runs import BackedOff, Tally
from controller.store.later import Known, Later
from controller.store.recordset import recordset
from crds.names import AttemptId, DagUid, RunUid, service_name
from crds.phases import FINAL_TASK, TaskPhase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import psycopg

NOTHING_WON: Mapping[TaskKey, AttemptId] = MappingProxyType({})

# Whoever ended is counted once by each task that waits for it: its mark goes in the same statement. So a pass costs what
# ended, however many tasks a waiting one needs. OFFSET keeps the lookup of edges one by upstream task: without statistics,
# as of a new DAG, the planner would read all edges of the revision for each.
_COUNT: LiteralString = """
    WITH ended AS (
        UPDATE task_run SET fresh = false WHERE run_uid = ANY(%(runs)s) AND fresh RETURNING run_uid, task, phase
    ), above AS (
        SELECT run.uid, edge.task,
               count(*) FILTER (WHERE ended.phase = 'Succeeded') AS succeeded,
               count(*) FILTER (WHERE ended.phase IN ('Failed', 'UpstreamFailed', 'Cancelled')) AS failed,
               count(*) FILTER (WHERE ended.phase = 'Skipped') AS skipped
          FROM ended
          JOIN run ON run.uid = ended.run_uid
         CROSS JOIN LATERAL (
            SELECT task FROM revision_edge
             WHERE dag_uid = run.dag_uid AND generation = run.revision AND upstream = ended.task
            OFFSET 0) AS edge
         GROUP BY run.uid, edge.task
    )
    UPDATE task_run waiting
       SET above_succeeded = waiting.above_succeeded + above.succeeded,
           above_failed = waiting.above_failed + above.failed,
           above_skipped = waiting.above_skipped + above.skipped
      FROM above
     WHERE waiting.run_uid = above.uid AND waiting.task = above.task AND waiting.phase = 'Waiting'
 RETURNING waiting.run_uid, waiting.task, waiting.idx, waiting.pool_uid, waiting.above_succeeded, waiting.above_failed,
           waiting.above_skipped
"""

_BACKED_OFF: LiteralString = """
    SELECT run_uid, task, idx, not_before, user_failures, infrastructure_failures, evictions, pool_uid
      FROM task_run
     WHERE run_uid = ANY(%(runs)s) AND ended_at IS NULL AND phase = 'Backoff'
"""

# OFFSET has unfinished runs left out before anything of theirs is counted.
_TALLY: LiteralString = """
    SELECT run.uid, tally.failures, tally.cancelled, tally.failed
      FROM (SELECT uid FROM run
             WHERE uid = ANY(%(runs)s) AND phase = 'Running'
               AND NOT EXISTS (SELECT FROM task_run WHERE run_uid = run.uid AND ended_at IS NULL)
            OFFSET 0) AS run
     CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE phase IN ('Failed', 'UpstreamFailed')) AS failures,
               count(*) FILTER (WHERE phase = 'Cancelled') AS cancelled,
               (array_agg(task ORDER BY ended_at) FILTER (WHERE phase = 'Failed'))[1:5] AS failed
          FROM task_run WHERE run_uid = run.uid) AS tally
"""

_STEP: LiteralString = """
    UPDATE task_run
       SET phase = step.phase, reason = step.reason, message = step.message, not_before = step.not_before,
           user_failures = step.user_failures, infrastructure_failures = step.infrastructure_failures,
           evictions = step.evictions,
           held = step.phase = 'Ready' AND run.suspend,
           ready_at = CASE WHEN step.phase = 'Ready' THEN %(now)s ELSE task_run.ready_at END,
           ended_at = CASE WHEN step.final THEN %(now)s END,
           fresh = step.final, outputs = won.outputs, versions = won.versions
      FROM json_to_recordset(%(steps)s)
           AS step(run_uid text, task text, idx int, seen text, phase text, reason text, message text,
                   not_before timestamptz, user_failures int, infrastructure_failures int, evictions int, final bool,
                   attempt text)
      JOIN run ON run.uid = step.run_uid
      LEFT JOIN attempt won ON won.id = step.attempt AND won.phase = 'Succeeded'
     WHERE task_run.run_uid = step.run_uid AND task_run.task = step.task AND task_run.idx = step.idx
       AND task_run.phase = step.seen AND coalesce(won.number = task_run.number, true)
 RETURNING task_run.run_uid, task_run.task, task_run.idx, task_run.pool_uid
"""

_CANCEL: LiteralString = """
    UPDATE task_run
       SET phase = 'Cancelled', reason = 'Cancelled', ended_at = %(now)s, not_before = NULL, held = false
     WHERE run_uid = ANY(%(runs)s) AND ended_at IS NULL AND phase = ANY(%(phases)s)
 RETURNING run_uid
"""

_HOLD: LiteralString = """
    UPDATE task_run SET held = true
     WHERE run_uid = ANY(%(runs)s) AND ended_at IS NULL AND phase = 'Ready' AND NOT held
 RETURNING pool_uid
"""

_RELEASE: LiteralString = "UPDATE task_run SET held = false WHERE run_uid = ANY(%(runs)s) AND held RETURNING pool_uid"

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


@dataclass(frozen=True, slots=True)
class Counted:
    """A waiting task of which an upstream task has ended, and how those that ended stand."""

    key: TaskKey
    pool: str
    succeeded: int
    failed: int
    skipped: int


def count_ended(connection: psycopg.Connection, runs: Sequence[RunUid]) -> Later[list[Counted]]:
    """Count the tasks of locked runs that ended since the last time; return the waiting tasks below them."""
    rows = connection.execute(_COUNT, {"runs": list(runs)})
    return Later(rows, lambda found: [Counted(TaskKey(RunUid(r[0]), r[1], r[2]), *r[3:7]) for r in found])


def backed_off(connection: psycopg.Connection, runs: Sequence[RunUid]) -> Later[list[tuple[BackedOff, str]]]:
    """Return the tasks that wait for their next try, with their pools."""
    if not runs:
        return Known([])
    rows = connection.execute(_BACKED_OFF, {"runs": list(runs)})
    return Later(rows, lambda found: [(BackedOff(TaskKey(RunUid(r[0]), r[1], r[2]), *r[3:7]), r[7]) for r in found])


def tallies(connection: psycopg.Connection, runs: Sequence[RunUid]) -> Later[dict[RunUid, Tally]]:
    """Return how the tasks of those running runs stand that have none unfinished."""
    rows = connection.execute(_TALLY, {"runs": list(runs)})
    return Later(rows, lambda found: {RunUid(r[0]): Tally(tuple(r[3] or ()), r[1], r[2]) for r in found})


def step(
    connection: psycopg.Connection,
    steps: Sequence[TaskStep],
    now: datetime,
    *,
    won: Mapping[TaskKey, AttemptId] = NOTHING_WON,
) -> Later[dict[TaskKey, str]]:
    """Take steps whose tasks are still as they were seen; return those taken, with their pool.

    A task that succeeded takes over what its attempt in `won` put out.
    """
    if not steps:
        return Known({})
    wanted = (
        {
            "run_uid": s.key.run,
            "task": s.key.task,
            "idx": s.key.index,
            "seen": s.seen,
            "phase": s.phase,
            "reason": s.reason,
            "message": s.message or None,
            "not_before": s.not_before,
            "user_failures": s.user_failures,
            "infrastructure_failures": s.infrastructure_failures,
            "evictions": s.evictions,
            "final": s.phase in FINAL_TASK,
            "attempt": won.get(s.key),
        }
        for s in steps
    )
    rows = connection.execute(_STEP, {"steps": recordset(wanted), "now": now})
    return Later(rows, lambda taken: {TaskKey(RunUid(r[0]), r[1], r[2]): r[3] for r in taken})


def cancel(
    connection: psycopg.Connection, runs: Sequence[RunUid], phases: Iterable[TaskPhase], now: datetime
) -> set[RunUid]:
    """Cancel all tasks of runs that are in one of the phases; return the runs that had any."""
    rows = connection.execute(_CANCEL, {"runs": list(runs), "phases": [str(p) for p in phases], "now": now})
    return {RunUid(r[0]) for r in rows}


def hold(connection: psycopg.Connection, runs: Sequence[RunUid], *, suspended: bool) -> Later[set[str]]:
    """Hold the ready tasks of locked runs that are suspended, or release those of runs that are not; return their pools."""
    if not runs:
        return Known(set())
    rows = connection.execute(_HOLD if suspended else _RELEASE, {"runs": list(runs)})
    return Later(rows, lambda changed: {r[0] for r in changed})


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
           run.namespace, run.name, task_run.pool_uid, pool.namespace, pool.name, attempt.claimed_at
      FROM attempt
      JOIN task_run ON task_run.run_uid = attempt.run_uid AND task_run.task = attempt.task AND task_run.idx = attempt.idx
      JOIN run ON run.uid = attempt.run_uid
      LEFT JOIN resource pool ON pool.uid = task_run.pool_uid
     WHERE attempt.id = ANY(%(attempts)s)
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
    pool: str
    pool_name: str
    """As metrics and services name it."""
    claimed_at: datetime | None


def facts(connection: psycopg.Connection, attempts: Sequence[str]) -> Later[Mapping[TaskKey, FactsRow]]:
    """Return what is known of the tasks of attempts."""
    return Later(connection.execute(_FACTS, {"attempts": list(attempts)}), _facts)


def _facts(rows: Iterable[tuple[Any, ...]]) -> dict[TaskKey, FactsRow]:
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
            pool=r[13],
            pool_name=service_name(r[15], r[14]) if r[15] else "",
            claimed_at=r[16],
        )
        for r in rows
    )
    return {f.key: f for f in found}


_BOOKMARK: LiteralString = """
    INSERT INTO bookmark (dag_uid, task, value, attempt)
    SELECT DISTINCT ON (dag_uid, task) dag_uid, task, bookmark, id
      FROM attempt
     WHERE id = ANY(%(attempts)s) AND phase = 'Succeeded' AND bookmark IS NOT NULL
     ORDER BY dag_uid, task, claimed_at DESC
        ON CONFLICT (dag_uid, task) DO UPDATE SET value = excluded.value, attempt = excluded.attempt
"""


def remember(connection: psycopg.Connection, attempts: Sequence[str]) -> None:
    """Keep the bookmarks of successful attempts for the next run."""
    if attempts:
        connection.execute(_BOOKMARK, {"attempts": list(attempts)})


def _columns(keys: Sequence[TaskKey]) -> dict[str, object]:
    return {"runs": [k.run for k in keys], "tasks": [k.task for k in keys], "idxs": [k.index for k in keys]}
