"""What must hold at every moment, checked on the rows themselves and on what was seen of them before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, LiteralString

from crds.phases import (
    ATTEMPT_TRANSITIONS,
    RUN_TRANSITIONS,
    TASK_TRANSITIONS,
    AttemptPhase,
    RunPhase,
    TaskPhase,
)
from crds.pool import WorkerPoolSpec

if TYPE_CHECKING:
    from enum import StrEnum

    import psycopg

Transitions = Mapping[Any, frozenset[Any]]

_LIVE_TWICE: LiteralString = """
    SELECT run_uid, task, idx FROM attempt WHERE ended_at IS NULL GROUP BY 1, 2, 3 HAVING count(*) > 1
"""

_ACTIVE_MISMATCH: LiteralString = """
    SELECT task_run.run_uid, task_run.task FROM task_run
      LEFT JOIN attempt ON attempt.run_uid = task_run.run_uid AND attempt.task = task_run.task
                       AND attempt.idx = task_run.idx AND attempt.ended_at IS NULL
     WHERE (task_run.phase = 'Active') <> (attempt.id IS NOT NULL) OR attempt.number <> task_run.number
"""

_FOREIGN_OUTPUTS: LiteralString = """
    SELECT task_run.run_uid, task_run.task FROM task_run
      LEFT JOIN attempt ON attempt.run_uid = task_run.run_uid AND attempt.task = task_run.task
                       AND attempt.idx = task_run.idx AND attempt.number = task_run.number
     WHERE task_run.ended_at IS NOT NULL AND (task_run.phase = 'Succeeded') <> coalesce(attempt.phase = 'Succeeded', false)
        OR task_run.outputs IS DISTINCT FROM
           CASE WHEN task_run.phase = 'Succeeded' THEN attempt.outputs END
"""

_FOREIGN_FILES: LiteralString = """
    SELECT manifest_file.key FROM manifest_file
      LEFT JOIN attempt ON attempt.id = manifest_file.attempt AND attempt.phase IN ('Committed', 'Succeeded')
     WHERE attempt.id IS NULL
"""

_POOLS: LiteralString = """
    SELECT resource.name, resource.spec, count(attempt.id)
      FROM resource JOIN attempt ON attempt.pool_uid = resource.uid AND attempt.ended_at IS NULL
     WHERE resource.kind = 'WorkerPool' GROUP BY resource.uid
"""

_NO_DEADLINE: LiteralString = """
    SELECT id FROM attempt WHERE ended_at IS NULL AND NOT (isfinite(next_check_at) AND isfinite(queue_by))
"""

_TICK_TWICE: LiteralString = """
    SELECT dag_uid, schedule, tick FROM run WHERE tick IS NOT NULL GROUP BY 1, 2, 3 HAVING count(*) > 1
"""

_MIXED: LiteralString = """
    SELECT task_run.run_uid, task_run.task FROM task_run JOIN run ON run.uid = task_run.run_uid
     WHERE NOT EXISTS (SELECT FROM revision, jsonb_array_elements(revision.spec->'tasks') t
                        WHERE revision.dag_uid = run.dag_uid AND revision.generation = run.revision
                          AND t->>'name' = task_run.task)
"""

_ENDED_WITH_UNFINISHED: LiteralString = """
    SELECT run.uid FROM run JOIN task_run ON task_run.run_uid = run.uid AND task_run.ended_at IS NULL
     WHERE run.ended_at IS NOT NULL
"""

MISCOUNTED: LiteralString = """
    SELECT waiting.run_uid, waiting.task
      FROM task_run waiting
      JOIN run ON run.uid = waiting.run_uid
     CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE up.phase = 'Succeeded') AS succeeded,
               count(*) FILTER (WHERE up.phase IN ('Failed', 'UpstreamFailed', 'Cancelled')) AS failed,
               count(*) FILTER (WHERE up.phase = 'Skipped') AS skipped
          FROM revision_edge edge
          JOIN task_run up ON up.run_uid = run.uid AND up.task = edge.upstream AND up.ended_at IS NOT NULL AND NOT up.fresh
         WHERE edge.dag_uid = run.dag_uid AND edge.generation = run.revision AND edge.task = waiting.task) AS above
     WHERE waiting.phase = 'Waiting' AND run.cancel_at IS NULL
       AND (waiting.above_succeeded, waiting.above_failed, waiting.above_skipped)
           <> (above.succeeded, above.failed, above.skipped)
"""

# Name of the promise → a query whose every row breaks it.
NEVER: Mapping[str, LiteralString] = {
    "at most one live attempt a task run": _LIVE_TWICE,
    "a task is Active exactly while its newest attempt lives": _ACTIVE_MISMATCH,
    "outputs come from the attempt that succeeded": _FOREIGN_OUTPUTS,
    "files come from attempts that succeeded": _FOREIGN_FILES,
    "every live attempt has finite deadlines": _NO_DEADLINE,
    "one run per dag, schedule and tick": _TICK_TWICE,
    "a run never mixes revisions": _MIXED,
    "an ended run has no unfinished task": _ENDED_WITH_UNFINISHED,
    "a waiting task has counted each task that it needs once": MISCOUNTED,
}


@dataclass
class Invariants:
    """Remembers phases, revisions and grants between checks."""

    attempts: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)
    runs: dict[str, tuple[str, int]] = field(default_factory=dict)
    grants: dict[str, tuple[str, str]] = field(default_factory=dict)
    over_limit: set[str] = field(default_factory=set)
    """Pools whose limit was lowered below what is live, so that only growth is wrong."""

    def granted(self, attempt: str, request: str, worker: str) -> None:
        """Assert that user code starts once: the same grant goes to the same request alone."""
        assert self.grants.setdefault(attempt, (request, worker)) == (request, worker), f"{attempt} was granted twice"

    def reopened(self, run: str) -> None:
        """Forget the final phases of a run that a retry opens again; attempts stay final for ever."""
        del self.runs[run]
        self.tasks = {key: phase for key, phase in self.tasks.items() if not key.startswith(f"{run}/")}

    def check(self, connection: psycopg.Connection) -> None:
        """Assert every promise."""
        for promise, query in NEVER.items():
            broken = connection.execute(query).fetchall()
            assert not broken, f"{promise}: {broken}"
        for name, spec, live in connection.execute(_POOLS):
            limit = WorkerPoolSpec.model_validate(spec).limit
            assert live <= limit or name in self.over_limit, f"pool {name} has {live} live attempts of {limit}"
        self._history(connection)

    def _history(self, connection: psycopg.Connection) -> None:
        for id_, phase in connection.execute("SELECT id, phase FROM attempt"):
            before = self.attempts.get(id_, "Pending")
            assert reachable(ATTEMPT_TRANSITIONS, AttemptPhase, before, phase), f"{id_}: {before} → {phase}"
            self.attempts[id_] = phase
        for run, task, idx, phase in connection.execute("SELECT run_uid, task, idx, phase FROM task_run"):
            key = f"{run}/{task}/{idx}"
            before = self.tasks.get(key) or str(phase)
            # Between two checks a task may have gone through several attempts.
            assert reachable(TASK_TRANSITIONS, TaskPhase, before, phase), f"{key}: {before} → {phase}"
            self.tasks[key] = phase
        for uid, phase, revision in connection.execute("SELECT uid, phase, revision FROM run"):
            was, at = self.runs.get(uid, (phase, revision))
            assert at == revision, f"run {uid} moved from revision {at} to {revision}"
            assert was == phase or RunPhase(was) not in {RunPhase.SUCCEEDED, RunPhase.FAILED, RunPhase.CANCELLED}, (
                f"run {uid}: {was} → {phase}"
            )
            assert reachable(RUN_TRANSITIONS, RunPhase, was, phase), f"run {uid}: {was} → {phase}"
            self.runs[uid] = (phase, revision)


def reachable(transitions: Transitions, kind: type[StrEnum], before: str, after: str) -> bool:
    """Tell whether a phase can follow another one, at once or by way of others, without a retry."""
    return after == before or kind(after) in _closure(kind, tuple(transitions.items()), kind(before))


@cache
def _closure(kind: type[StrEnum], table: tuple[tuple[Any, frozenset[Any]], ...], start: Any) -> frozenset[Any]:
    transitions = dict(table)
    found: set[Any] = set()
    open_ = [start]
    while open_:
        phase = open_.pop()
        nexts = transitions[phase]
        # What is final is left only by a retry.
        if phase in {"Succeeded", "Failed", "UpstreamFailed", "Skipped", "Cancelled"}:
            continue
        open_ += nexts - found
        found |= nexts
    return frozenset(found)
