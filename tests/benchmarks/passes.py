"""What the end of one task costs in a run of many: at the tail of a long chain, and among the last of a wide fan.

The tasks before are set to Succeeded in the database while the run's first task waits at its gate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, LiteralString

from controller.runtime.keys import Key, Kind
from controller.runtime.wakes import CHANNEL, encode
from crds.names import RunUid
from tests.benchmarks import statements
from tests.benchmarks.dags import Dag, Task, chain, fan
from tests.benchmarks.measuring import RUN_WITHIN, WARM_UP, Workload, hops
from tests.benchmarks.results import percentile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.benchmarks.results import Figures
    from tests.benchmarks.stack import Size, Stack
    from tests.benchmarks.statements import Statements

SIZES = (100, 1_000, 10_000)
LEFT = 20
"""How many tasks are left to be run, and so measured."""

_DONE: LiteralString = """
    UPDATE task_run SET phase = 'Succeeded', started_at = now(), ended_at = now(), fresh = true
     WHERE run_uid = %s AND task = ANY(%s) AND phase = 'Waiting'
"""
# The join of a fan is no part of its middle.
_WAITING: LiteralString = """
    SELECT task FROM task_run WHERE run_uid = %s AND phase = 'Waiting' AND task <> 'last' ORDER BY task
"""
_UNSEEN: LiteralString = "SELECT count(*) FROM task_run WHERE run_uid = %s AND fresh"
_WAKE: LiteralString = "SELECT pg_notify(%s, %s)"
_BODIES: LiteralString = """
    SELECT (outputs->>'began')::float8, (outputs->>'ended')::float8
      FROM task_run WHERE run_uid = %s AND outputs ? 'began' ORDER BY 1
"""


class Passes(Workload):
    """Milliseconds and statements a task against the number of tasks in the run."""

    name, title = "passes", "the end of one task in runs of 100, 1000 and 10000 tasks"
    once = True
    # One after the other, so that no two ends share a pass.
    slots = 1
    statistics = True

    def __init__(self) -> None:
        self._costliest: dict[str, list[dict[str, Any]]] = {}

    def dags(self, size: Size) -> Sequence[Dag]:
        return [WARM_UP, *(_gated(dag) for n in _sizes(size) for dag in (chain(f"chain{n}", n), fan(f"fan{n}", n - 2)))]

    def measure(self, stack: Stack) -> Figures:
        found: dict[str, float] = {}
        for shape in ("chain", "fan"):
            tails = {tasks: _tail(stack, f"{shape}{tasks}") for tasks in _sizes(stack.size)}
            for tasks, tail in tails.items():
                found |= {f"{shape}_{tasks}_{name}": value for name, value in tail.figures().items()}
            small, large = tails[min(tails)], tails[max(tails)]
            found[f"{shape}_hop_ratio"] = large.hop / small.hop
            self._costliest[f"{shape}_{max(tails)}"] = large.asked.costliest(large.tasks)
        return found

    def facts(self, stack: Stack) -> Mapping[str, Any]:
        del stack
        return {"costliest": self._costliest}


@dataclass(frozen=True, slots=True)
class _Tail:
    """The last tasks of a run: how many, the median hop in ms, and what Postgres was asked for them."""

    tasks: int
    hop: float
    asked: Statements

    def figures(self) -> Figures:
        return {
            "hop_p50_ms": self.hop,
            "statements_per_task": self.asked.calls / self.tasks,
            "executing_ms_per_task": self.asked.executing / self.tasks,
            "planning_ms_per_task": self.asked.planning / self.tasks,
        }


def _sizes(size: Size) -> list[int]:
    return sorted({size.of(tasks, least=10) for tasks in SIZES})


def _gated(dag: Dag) -> Dag:
    first = next(iter(dag.tasks))
    return replace(dag, tasks={**dag.tasks, first: Task("gate")})


def _tail(stack: Stack, dag: str) -> _Tail:
    """Run the last tasks of a run of which the others are done."""
    folder = stack.new_folder()
    run = stack.trigger(dag, {"folder": str(folder)})
    stack.until("the gate is reached", (folder / "1.begun").exists)
    _skip(stack, run)
    statements.reset(stack)
    (folder / "open").touch()
    stack.ended([run], RUN_WITHIN)
    asked = statements.read(stack)
    bodies = [(float(began), float(ended)) for began, ended in stack.rows(_BODIES, run)]
    return _Tail(len(bodies), percentile(hops(bodies), 0.5), asked)


def _skip(stack: Stack, run: str) -> None:
    """Set what stands between the gate and the last LEFT tasks to Succeeded, and let the controller take note."""
    waiting = [str(row[0]) for row in stack.rows(_WAITING, run)]
    done = waiting[: -min(LEFT, len(waiting) // 2)]
    with stack.connect() as connection:
        connection.execute(_DONE, [run, done])
        # What the next passes cost must not depend on the row versions that this has left.
        connection.execute("VACUUM (ANALYZE) task_run")
        connection.execute(_WAKE, [CHANNEL, encode([Key(Kind.RUN, RunUid(run))])])
    stack.until("the controller has seen what is done", lambda: not stack.value(_UNSEEN, run))
