"""What makes a schedule, and what comes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.faults import draw_rates
from tests.simulation.workload import draw_workload

if TYPE_CHECKING:
    from tests.simulation.workload import Workload


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a schedule: what happens, and the seed of whatever is drawn meanwhile."""

    label: str
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.label} ({self.seed})"


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes a schedule: the seed and what was drawn from it. `recorded`: the steps to take instead of drawn ones."""

    seed: int
    workload: Workload
    rates: dict[str, float]
    recorded: tuple[Step, ...] | None = None
    crash_in: str | None = None
    """The process that dies at its `crash_at`-th point."""
    crash_at: int = -1
    controllers: int = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a schedule in which every promise was held."""

    seed: int
    steps: tuple[Step, ...]
    injected: Counter[str]
    runs: Counter[str]
    attempts: Counter[str]
    seconds: float
    recovery: float
    """Virtual seconds of the whole schedule, and from the last fault to the end of the last run."""
    points: Counter[str] = field(default_factory=Counter)
    waited: int = 0


class Violation(AssertionError):
    """A promise was broken; the plan with the steps that led there."""

    def __init__(self, plan: Plan, reason: BaseException) -> None:
        self.plan = plan
        self.reason = reason
        super().__init__(f"seed {plan.seed}: {type(reason).__name__}: {reason}\n{replay_line(plan.seed)}")


def replay_line(seed: int) -> str:
    """Return the command that repeats a schedule."""
    return f"python -m tests.simulation --replay {seed}"


def plan_of(seed: int) -> Plan:
    """Draw the workload and the fault rates of a seed."""
    random = Random(seed)
    return Plan(seed, draw_workload(random), draw_rates(random))
