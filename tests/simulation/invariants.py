"""What must hold at every moment (I1 to I12), checked on what is committed and on what was seen of it before."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, LiteralString

from controller.diff.settle import FREE_EVICTIONS
from crds.phases import ATTEMPT_TRANSITIONS, RUN_TRANSITIONS, TASK_TRANSITIONS, AttemptPhase, RunPhase, TaskPhase
from tests.integration.core_invariants import reachable
from tests.simulation import snapshot

if TYPE_CHECKING:
    from collections.abc import Container

    import psycopg

    from tests.simulation.people import Asked
    from tests.simulation.snapshot import Attempt, Run, Snapshot, Task

_REVISION: LiteralString = """
    SELECT array(SELECT t->>'name' FROM jsonb_array_elements(spec->'tasks') t)
      FROM revision WHERE dag_uid = %s AND generation = %s
"""
SUCCESS = {"Committed", "Succeeded"}
USER = {"Failed", "TimedOut"}
INFRASTRUCTURE = {"Lost", "Undeliverable"}


@dataclass
class Invariants:
    """Remembers what was seen, and compares."""

    connection: psycopg.Connection
    asked: Asked
    recorded: dict[str, str] = field(default_factory=dict)
    """Attempt → the outcome of its report that was answered `recorded`."""
    offered: Container[tuple[str, int]] = ()
    """Attempts and deliveries that SQS was asked to take."""
    now: Snapshot = field(default_factory=snapshot.Snapshot)
    _runs: dict[str, Run] = field(default_factory=dict)
    _tasks: dict[tuple[str, str, int], Task] = field(default_factory=dict)
    _attempts: dict[str, Attempt] = field(default_factory=dict)
    _names: dict[tuple[str, int], frozenset[str]] = field(default_factory=dict)
    _base: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """The number of the last attempt before a retry opened the task again."""
    _seen_live: set[str] = field(default_factory=set)
    _limit: dict[str, int | None] = field(default_factory=dict)

    def check(self) -> Snapshot:
        """Assert every promise on what is committed now."""
        found = self.now = snapshot.read(self.connection)
        attempts: dict[tuple[str, str, int], list[Attempt]] = {}
        for attempt in found.attempts or ():
            attempts.setdefault(attempt.key, []).append(attempt)
        tasks: dict[str, list[Task]] = {}
        for task in found.tasks or ():
            tasks.setdefault(task.run, []).append(task)
        for run in found.runs or ():
            self._run(run, tasks.get(run.uid, []))
        for task in found.tasks or ():
            self._task(task, sorted(attempts.get(task.key, []), key=lambda a: a.number))
        for attempt in found.attempts or ():
            self._attempt(attempt)
        self._limits(found)
        self._ticks(found)
        self._promises(found)
        assert not found.wronged, f"workers were given up in spite of their heartbeats: {found.wronged}"
        assert not found.miscounted, f"tasks have counted what ended above them wrongly: {found.miscounted}"
        return found

    def _run(self, run: Run, tasks: list[Task]) -> None:
        before = self._runs.get(run.uid, run)
        assert before.revision == run.revision, f"{run.name} moved from revision {before.revision} (I9)"
        again = run.generation > before.generation
        assert again or reachable(RUN_TRANSITIONS, RunPhase, before.phase, run.phase), (
            f"{run.name}: {before.phase} → {run.phase} (I3)"
        )
        names = self._revision(run)
        assert {t.task for t in tasks} in (names, frozenset()), f"{run.name} mixes revisions (I9)"
        assert not run.ended or all(t.ended for t in tasks), f"{run.name} has ended with unfinished tasks"
        assert run.phase != "Running" or tasks, f"{run.name} runs without tasks"
        self._runs[run.uid] = run

    def _revision(self, run: Run) -> frozenset[str]:
        key = run.dag, run.revision
        if key not in self._names:
            row = self.connection.execute(_REVISION, key).fetchone()
            assert row is not None, f"{run.name} has no revision"
            self._names[key] = frozenset(row[0])
        return self._names[key]

    def _task(self, task: Task, attempts: list[Attempt]) -> None:
        name = f"{task.run}/{task.task}"
        before = self._tasks.get(task.key, task)
        again = task.generation > before.generation
        if again:
            # Of what one look saw before, some may have happened after the retry; a further look tells.
            self._base[task.key] = max((a.number for a in attempts if a.id in self._attempts), default=0)
        assert again or reachable(TASK_TRANSITIONS, TaskPhase, before.phase, task.phase), (
            f"{name}: {before.phase} → {task.phase} (I3)"
        )
        live = [a for a in attempts if not a.ended]
        assert len(live) <= 1, f"{name} has {len(live)} live attempts (I1)"
        assert [a.number for a in attempts] == list(range(1, task.number + 1)), f"{name} lacks attempts"
        assert (task.phase == "Active") == bool(live), f"{name} is {task.phase} with {len(live)} live attempts"
        self._outputs(name, task, attempts)
        self._budgets(name, task, attempts, again=again)
        self._tasks[task.key] = task

    def _outputs(self, name: str, task: Task, attempts: list[Attempt]) -> None:
        if task.phase == "Succeeded":
            assert attempts, f"{name} succeeded without an attempt (I4)"
            last = attempts[-1]
            assert last.phase == "Succeeded", f"{name} succeeded, its attempt is {last.phase} (I4)"
            assert task.outputs == {"from": last.id}, f"{name} shows {task.outputs}, not those of {last.id} (I4)"
            others = [a.id for a in attempts[:-1] if a.phase in SUCCESS]
            assert not others or self._base.get(task.key), f"{name} succeeded twice: {others}"
        else:
            assert task.outputs is None, f"{name} is {task.phase} and shows outputs (I4)"

    def _budgets(self, name: str, task: Task, attempts: list[Attempt], *, again: bool) -> None:
        """Assert that each end was charged to its own budget, and that no budget was overdrawn."""
        if again or task.phase == "Cancelled":
            return
        ended = Counter(a.phase for a in attempts if a.number > self._base.get(task.key, 0))
        user, evicted = sum(ended[p] for p in USER), ended["Evicted"]
        infrastructure = sum(ended[p] for p in INFRASTRUCTURE) + max(evicted - FREE_EVICTIONS, 0)
        spent = task.user_failures, task.infrastructure_failures, min(task.evictions, FREE_EVICTIONS)
        owed = user, infrastructure, min(evicted, FREE_EVICTIONS)
        assert spent == owed, f"{name}: failures {spent} are booked, {owed} happened"

    def _attempt(self, attempt: Attempt) -> None:
        before = self._attempts.get(attempt.id)
        if before is None:
            assert attempt.finite, f"{attempt.id} has no deadline (I6)"
        elif before.ended:
            assert before == attempt, f"{attempt.id} was final and changed: {before} → {attempt} (I3)"
        else:
            fits = reachable(ATTEMPT_TRANSITIONS, AttemptPhase, before.phase, attempt.phase)
            assert fits, f"{attempt.id}: {before.phase} → {attempt.phase} (I3)"
            assert before.worker in (None, attempt.worker), f"{attempt.id} changed its worker"
            assert attempt.finite or attempt.ended, f"{attempt.id} has no deadline (I6)"
            assert attempt.delivery >= before.delivery, f"{attempt.id} went back to delivery {attempt.delivery}"
            assert not before.committed or attempt.phase in SUCCESS, f"{attempt.id} was committed, now {attempt.phase}"
            sent = attempt.phase != "Queued" or not attempt.sent or (attempt.id, attempt.delivery) in self.offered
            assert sent, f"{attempt.id} is Queued, and its delivery {attempt.delivery} was never sent"
        self._attempts[attempt.id] = attempt

    def _limits(self, found: Snapshot) -> None:
        """Assert that live attempts grow within the limits only; a limit may be lowered below what is live."""
        live = Counter(a.pool for a in found.attempts or () if not a.ended)
        live.update(a.dag for a in found.attempts or () if not a.ended)
        new = {p for a in found.attempts or () if not a.ended and a.id not in self._seen_live for p in (a.pool, a.dag)}
        for resource in found.resources or ():
            limit = resource.limit if resource.kind == "WorkerPool" else resource.most_tasks
            fits = limit is None or live[resource.uid] <= limit or resource.uid not in new
            lowered = self._limit.get(resource.uid, limit) != limit
            assert fits or lowered, f"{resource.kind} {resource.name}: {live[resource.uid]} live of {limit} (I5)"
            self._limit[resource.uid] = limit
        self._seen_live = {a.id for a in found.attempts or () if not a.ended}

    def _ticks(self, found: Snapshot) -> None:
        ticks = Counter((r.dag, r.schedule, r.tick) for r in found.runs or () if r.tick is not None)
        twice = [t for t, n in ticks.items() if n > 1]
        assert not twice, f"ticks became two runs: {twice} (I8)"

    def _promises(self, found: Snapshot) -> None:
        names = {r.name for r in found.runs or ()}
        lost = self.asked.accepted.keys() - names
        assert not lost, f"triggers were answered 2xx and are gone: {sorted(lost)} (I12)"
        if self.recorded:
            ended = {a.id: a.phase for a in found.attempts or () if a.ended}
            broken = {a: o for a, o in self.recorded.items() if a not in ended}
            assert not broken, f"reports were answered `recorded` and have no effect: {broken} (I12)"
        successful = {a.id for a in found.attempts or () if a.phase in SUCCESS}
        foreign = [f.key for f in found.files or () if f.attempt not in successful]
        assert not foreign, f"files of attempts that did not succeed: {foreign} (I4)"
