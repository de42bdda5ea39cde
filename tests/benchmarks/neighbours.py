"""How much of the machine others took while we measured: a figure with a busy neighbour says little."""

from __future__ import annotations

import time
from typing import Self

import psutil

from tests.benchmarks.stack import cpu_seconds


class Neighbours:
    """CPU that is neither ours nor of a system that we started, in percent of one core, over a `with` block."""

    def __init__(self) -> None:
        self._before = (0.0, 0.0)
        self.percent = 0.0

    def __enter__(self) -> Self:
        self._before = (time.monotonic(), self._others())
        return self

    def __exit__(self, *_: object) -> None:
        since, used = self._before
        self.percent = max(100 * (self._others() - used) / (time.monotonic() - since), 0.0)

    @staticmethod
    def _others() -> float:
        machine = psutil.cpu_times()
        # Time for guests is counted in `user` already; waiting for disks is no work.
        busy = sum(machine) - machine.idle - sum(getattr(machine, n, 0) for n in ("iowait", "guest", "guest_nice"))
        own = psutil.Process()
        return float(busy) - cpu_seconds([own, *own.children(recursive=True)])
