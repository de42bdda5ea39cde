"""What every workload has, and how a run is timed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, LiteralString

from tests.benchmarks.dags import Dag, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.benchmarks.results import Figures
    from tests.benchmarks.stack import Size, Stack

WARM_UP = Dag("warm", {f"t{n:05}": Task() for n in range(32)})
"""Fills every slot again and again, so that no start of a process is measured."""
RUN_WITHIN = 900.0

_BODIES: LiteralString = """
    SELECT (outputs->>'began')::float8, (outputs->>'ended')::float8
      FROM task_run
     WHERE run_uid = ANY(%s) AND outputs ? 'began'
     ORDER BY 1
"""
_END: LiteralString = "SELECT extract(epoch FROM max(ended_at))::float8 FROM run WHERE uid = ANY(%s)"


class Workload(ABC):
    """Something to measure on a system that has its DAGs."""

    name: ClassVar[str]
    title: ClassVar[str]
    once: ClassVar[bool] = False
    """It repeats by itself what must be repeated."""
    slots: ClassVar[int | None] = None
    """The slots that it needs, if not those that are asked for."""
    statistics: ClassVar[bool] = False
    """It reads pg_stat_statements, which costs a little and so is not loaded otherwise."""

    @abstractmethod
    def dags(self, size: Size) -> Sequence[Dag]:
        """Return what must be applied before."""

    def warm_up(self, stack: Stack) -> None:
        """Run WARM_UP, which is not measured."""
        timed(stack, WARM_UP.name)

    @abstractmethod
    def measure(self, stack: Stack) -> Figures:
        """Do it once; return what was found."""

    def facts(self, stack: Stack) -> Mapping[str, Any]:
        """Return what else is worth knowing of the system that was measured."""
        del stack
        return {}


@dataclass(frozen=True, slots=True)
class Stamps:
    """How long runs took from trigger to end, and when each of their bodies ran, by the clock of this machine."""

    runs: list[str]
    wall: float
    cpu: float
    bodies: list[tuple[float, float]]

    @property
    def rate(self) -> float:
        """Return tasks a second."""
        return len(self.bodies) / self.wall

    @property
    def cpu_ms(self) -> float:
        """Return the milliseconds of CPU that the whole system has used a task, whoever else was at work."""
        return self.cpu * 1000 / len(self.bodies)

    @property
    def compute(self) -> float:
        """Return the seconds that were spent in bodies."""
        return sum(ended - began for began, ended in self.bodies)

    @property
    def hops(self) -> list[float]:
        """Return the milliseconds of each hop."""
        return hops(self.bodies)


def hops(bodies: Sequence[tuple[float, float]]) -> list[float]:
    """Return the milliseconds from the end of each body to the start of the next."""
    return [(after[0] - before[1]) * 1000 for before, after in pairwise(bodies)]


def timed(stack: Stack, dag: str, runs: int = 1) -> Stamps:
    """Trigger runs at once, wait for their end, and return when things happened."""
    used = stack.cpu_seconds()
    began = time.time()
    uids = stack.trigger_many(dag, runs) if runs > 1 else [stack.trigger(dag)]
    stack.ended(uids, RUN_WITHIN)
    used = stack.cpu_seconds() - used
    bodies = [(float(start), float(end)) for start, end in stack.rows(_BODIES, uids)]
    return Stamps(uids, float(stack.value(_END, uids)) - began, used, bodies)
