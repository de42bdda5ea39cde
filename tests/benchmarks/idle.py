"""What the whole system costs while nothing happens."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from tests.benchmarks.measuring import WARM_UP, Workload
from tests.benchmarks.stack import program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.dags import Dag
    from tests.benchmarks.results import Figures
    from tests.benchmarks.stack import Size, Stack

SETTLE_SECONDS, WATCH_SECONDS = 10, 40


class Idle(Workload):
    """CPU and memory of every process of the system, a warm worker among them, over WATCH_SECONDS."""

    name, title = "idle", "all processes of the system, nothing to do"
    once = True
    # As many processes for tasks as the others had.
    slots = 4

    def dags(self, size: Size) -> Sequence[Dag]:
        del size
        return [WARM_UP]

    def warm_up(self, stack: Stack) -> None:
        super().warm_up(stack)
        time.sleep(stack.size.of(SETTLE_SECONDS, least=0))

    def measure(self, stack: Stack) -> Figures:
        before, since = stack.cpu_by_program(), time.monotonic()
        time.sleep(stack.size.of(WATCH_SECONDS, least=1))
        after, seconds = stack.cpu_by_program(), time.monotonic() - since
        used = {name: 100 * (spent - before.get(name, 0.0)) / seconds for name, spent in after.items()}
        memory: dict[str, float] = {}
        for process in stack.processes():
            name = program(process)
            memory[name] = memory.get(name, 0.0) + _pss_bytes(process) / 1e6
        return {
            "cpu_percent": sum(used.values()),
            "pss_mb": sum(memory.values()),
            **{f"cpu_percent_{name}": percent for name, percent in sorted(used.items())},
            **{f"pss_mb_{name}": share for name, share in sorted(memory.items())},
        }


def _pss_bytes(process: psutil.Process) -> int:
    """Return a process's share of memory; where the system does not know it, what is its alone."""
    with suppress(psutil.Error):
        memory = process.memory_full_info()
        return int(getattr(memory, "pss", 0) or memory.uss)
    return 0
