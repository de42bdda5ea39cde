"""What is aimed at, and the best that others reached."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks.peers import PEERS


@dataclass(frozen=True, slots=True)
class Target:
    """A figure of a workload, and what is aimed at; None: nothing, it is only compared."""

    workload: str
    figure: str
    label: str
    wanted: float | None
    more_is_better: bool = False

    @property
    def others(self) -> dict[str, float]:
        """Return what others reached, the best first."""
        key = (self.workload, self.figure)
        found = {peer.name: peer.figures[key] for peer in PEERS if key in peer.figures}
        return dict(sorted(found.items(), key=lambda item: item[1], reverse=self.more_is_better))

    def reached(self, value: float) -> bool | None:
        """Return whether a value is good enough; None if nothing is aimed at."""
        if self.wanted is None:
            return None
        return value >= self.wanted if self.more_is_better else value <= self.wanted


TARGETS = (
    Target("W1", "hop_p50_ms", "hop, p50 ms", 20),
    Target("W1", "hop_p99_ms", "hop, p99 ms", None),
    Target("W2", "tasks_per_s", "1 → 1000 → 1, tasks/s", 300, more_is_better=True),
    Target("W3", "light_wall_s", "40 × fib(10), s", None),
    Target("W3", "heavy_overhead_s", "10 × fib(33), s beyond compute", None),
    Target("W4", "tasks_per_s", "200 runs of 1 → 3 → 1, tasks/s", 300, more_is_better=True),
    Target("W5", "child_p50_s", "process killed to task runs, s", 3),
    Target("W5", "worker_p50_s", "worker killed to task runs, s", 3),
    Target("idle", "cpu_percent", "idle, % of a core", 3),
    Target("idle", "pss_mb", "idle, PSS in MB", None),
    Target("history", "hop_ratio", "hop beside history / without", 1.2),
)


def target(workload: str, figure: str) -> Target | None:
    """Return what is aimed at by a figure, if it is one of TARGETS."""
    return next((one for one in TARGETS if (one.workload, one.figure) == (workload, figure)), None)
