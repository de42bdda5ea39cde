"""What may go wrong, how often (drawn from the seed), and how often it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulation.fibers import Killed

if TYPE_CHECKING:
    from random import Random

    from tests.simulation.fibers import Fibers, Process

# Name → the highest rate a seed may draw. Those of the first group strike where they are asked for: at a statement, a call, a
# message. Those of the second are steps of their own, drawn by the scheduler.
AT_POINTS = {
    "interleave": 0.25,
    "abort": 0.02,
    "commitUnknown": 0.03,
    "requestLost": 0.15,
    "answerLost": 0.15,
    "requestLate": 0.08,
    "sendLost": 0.2,
    "sendAnswerLost": 0.2,
    "sendThrottled": 0.2,
    "messageLost": 0.08,
    "messageDoubled": 0.25,
    "messageLate": 0.25,
    "receiveLost": 0.15,
    "deleteLost": 0.3,
    "countsStale": 0.3,
    "sqsDown": 0.1,
    "ecsStale": 0.3,
    "ecsThrottled": 0.3,
    "placementFails": 0.3,
    "notifyLost": 0.5,
}
AS_STEPS = {
    "killController": 0.012,
    "splitBrain": 0.012,
    "restartPostgres": 0.006,
    "outage": 0.004,
    "killWorker": 0.02,
    "pauseWorker": 0.02,
    "stopWorker": 0.015,
    "drainPool": 0.01,
    "purgeQueue": 0.006,
    "strangeMessage": 0.01,
    "oldMessage": 0.03,
    "clockJump": 0.01,
}
PASSING = frozenset({"execute", "read", "counts", "dead letters", "describe services", "describe tasks"})
"""Points at which others may go first, but a crash leaves nothing that it does not leave elsewhere."""
ENABLED = 0.35
"""How likely a seed is to have a kind of fault at all: few at a time reach deeper than all at once."""
CALM = 0.1
"""How likely a seed is to have no fault at all."""


@dataclass
class Faults:
    """The fault rates of one schedule."""

    fibers: Fibers
    rates: dict[str, float]
    injected: Counter[str] = field(default_factory=Counter)
    active: bool = True
    crash_in: str | None = None
    """A process that dies at its n-th point; everything else goes well."""
    crash_at: int = -1
    points: Counter[str] = field(default_factory=Counter)
    crashed: Process | None = None

    def draws(self, name: str) -> bool:
        """Tell whether a fault strikes here."""
        rate = self.rates.get(name, 0.0)
        if not self.active or rate <= 0.0 or self.fibers.random.random() >= rate:
            return False
        self.injected[name] += 1
        return True

    def passed(self, process: Process, kind: str) -> None:
        """Count a point that a process passes, and end the process there if that is asked for.

        A process that dies within a transaction leaves what it left before it began, and one that dies after it has only read
        what it left before. So points are counted around COMMITs that wrote and around calls that change something.
        """
        if kind in PASSING or self.fibers.current is None:
            return
        owner = process.parent or process
        self.points[owner.name] += 1
        if owner.name == self.crash_in and self.points[owner.name] == self.crash_at:
            self.crashed = owner
            self.injected[f"crash at {kind}"] += 1
            raise Killed


def draw_rates(random: Random) -> dict[str, float]:
    """Return the rates of a seed: which kinds there are, and how often each."""
    if random.random() < CALM:
        return {"interleave": random.choice((0.0, 0.1))}
    return {
        name: most * random.random() ** 2 for name, most in (AT_POINTS | AS_STEPS).items() if random.random() < ENABLED
    }
