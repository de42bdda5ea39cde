"""W5: kill -9 of what runs a task, and the seconds until the task runs again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tests.benchmarks.dags import Dag, Task
from tests.benchmarks.measuring import WARM_UP, Workload
from tests.benchmarks.results import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.benchmarks.results import Figures
    from tests.benchmarks.stack import Size, Stack

KILLS = 5
RERUN_WITHIN = 120.0


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that reached its body: the process, and when."""

    process: psutil.Process
    at: float


class Recovery(Workload):
    """W5: the child process that runs the task, then the whole worker, which is the pool's only one and must be started anew."""

    name, title = "W5", "kill -9 of the process that runs a task, and of the whole worker"

    def dags(self, size: Size) -> Sequence[Dag]:
        del size
        return [WARM_UP, Dag("gate", {"work": Task("gate")})]

    def measure(self, stack: Stack) -> Figures:
        kills = stack.size.of(KILLS, least=1)
        child = [_rerun(stack, whole=False) for _ in range(kills)]
        worker = [_rerun(stack, whole=True) for _ in range(kills)]
        return {
            "child_p50_s": percentile(child, 0.5),
            "child_p99_s": percentile(child, 0.99),
            "worker_p50_s": percentile(worker, 0.5),
            "worker_p99_s": percentile(worker, 0.99),
        }


def _rerun(stack: Stack, *, whole: bool) -> float:
    """Kill what runs an attempt; return the seconds until the next attempt's body begins."""
    folder = stack.new_folder()
    run = stack.trigger("gate", {"folder": str(folder)})
    first = _begun(stack, folder, 1)
    victim = first.process.parent() if whole else first.process
    assert victim is not None
    killed = time.time()
    victim.kill()
    seconds = _begun(stack, folder, 2).at - killed
    stack.ended([run])
    return seconds


def _begun(stack: Stack, folder: Path, number: int) -> Begun:
    note = folder / f"{number}.begun"
    stack.until(f"attempt {number} begins", note.exists, RERUN_WITHIN)
    pid, at = note.read_text().split()
    return Begun(psutil.Process(int(pid)), float(at))
