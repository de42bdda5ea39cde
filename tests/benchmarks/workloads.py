"""W1 to W4: the workloads by which orchestrators were compared on one machine of two cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.dags import chain, fan
from tests.benchmarks.measuring import WARM_UP, Workload, timed
from tests.benchmarks.results import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.dags import Dag
    from tests.benchmarks.results import Figures
    from tests.benchmarks.stack import Size, Stack


class Chain(Workload):
    """W1: how long it takes from the end of one body to the start of the next."""

    name, title = "W1", "a chain of 100 no-op tasks"

    def dags(self, size: Size) -> Sequence[Dag]:
        return [WARM_UP, chain("chain", size.of(100))]

    def measure(self, stack: Stack) -> Figures:
        stamps = timed(stack, "chain")
        return {
            "wall_s": stamps.wall,
            "tasks_per_s": stamps.rate,
            "hop_p50_ms": percentile(stamps.hops, 0.5),
            "hop_p99_ms": percentile(stamps.hops, 0.99),
            "cpu_ms_per_task": stamps.cpu_ms,
        }


class Fan(Workload):
    """W2: how many tasks a second one wide run gets through."""

    name, title = "W2", "1 → 1000 → 1 no-op tasks"

    def dags(self, size: Size) -> Sequence[Dag]:
        return [WARM_UP, fan("fan", size.of(1000))]

    def measure(self, stack: Stack) -> Figures:
        stamps = timed(stack, "fan")
        return {"wall_s": stamps.wall, "tasks_per_s": stamps.rate, "cpu_ms_per_task": stamps.cpu_ms}


class Compute(Workload):
    """W3: what light and heavy computation pays."""

    name, title = "W3", "chains of 40 × fib(10) and of 10 × fib(33)"

    def dags(self, size: Size) -> Sequence[Dag]:
        heavy = 33 if size.scale >= 1 else 10
        light = chain("light", size.of(40), "fib", {"n": 10})
        return [WARM_UP, light, chain("heavy", size.of(10), "fib", {"n": heavy})]

    def measure(self, stack: Stack) -> Figures:
        light, heavy = timed(stack, "light"), timed(stack, "heavy")
        return {
            "light_wall_s": light.wall,
            "heavy_wall_s": heavy.wall,
            "heavy_overhead_s": heavy.wall - heavy.compute,
            "wall_s": light.wall + heavy.wall,
            "tasks_per_s": (len(light.bodies) + len(heavy.bodies)) / (light.wall + heavy.wall),
        }


class Crowd(Workload):
    """W4: how many tasks a second many small runs get through."""

    name, title = "W4", "200 runs of 1 → 3 → 1 triggered at once"

    def dags(self, size: Size) -> Sequence[Dag]:
        return [WARM_UP, fan("small", 3)]

    def measure(self, stack: Stack) -> Figures:
        stamps = timed(stack, "small", stack.size.of(200))
        return {"wall_s": stamps.wall, "tasks_per_s": stamps.rate, "cpu_ms_per_task": stamps.cpu_ms}
