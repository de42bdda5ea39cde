"""How much memory an attempt takes, and whether the kernel killed it for that."""

from __future__ import annotations

from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.25
# Without a limit a sample serves the metrics only, and a look at all processes is not cheap.
UNLIMITED_SAMPLE_SECONDS = 1.0
# A process that the kernel kills for memory was near its limit at the last sample.
NEAR = 0.9
_CGROUP_EVENTS = Path("/sys/fs/cgroup/memory.events")


class MemoryWatch:
    """Sample the resident memory of a child and its descendants against a limit."""

    def __init__(self, pid: int, limit: int | None) -> None:
        self._pid = pid
        self.limit = limit
        self.peak = 0
        self._kills = _oom_kills()

    @property
    def interval(self) -> float:
        """The seconds from one sample to the next."""
        return UNLIMITED_SAMPLE_SECONDS if self.limit is None else SAMPLE_SECONDS

    def sample(self) -> bool:
        """Look once; return whether the limit is exceeded."""
        resident = _resident(self._pid)
        self.peak = max(self.peak, resident)
        return self.limit is not None and resident > self.limit

    def killed_by_kernel(self) -> bool:
        """Return whether memory explains a SIGKILL that was not ours."""
        near = self.limit is not None and self.peak > NEAR * self.limit
        return near or _oom_kills() > self._kills


def _resident(pid: int) -> int:
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue  # It ended between the listing and the look.
    return total


def _oom_kills() -> int:
    """Return how many processes of this cgroup the kernel has killed for memory (cgroup v2, else 0)."""
    try:
        lines = _CGROUP_EVENTS.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
