"""Waiting between tries: exponential with full jitter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Event

    from workers.clock import Draw

# 2 ** 16 times any first delay is past every cap.
MAX_EXPONENT = 16


@dataclass(slots=True)
class Backoff:
    """Count the tries that failed in a row and wait between them.

    Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    draw: Draw
    initial: float = 0.1
    cap: float = 5.0
    failures: int = 0

    def wait(self, stopped: Event) -> bool:
        """Count one failure and wait; return whether `stopped` was set meanwhile."""
        limit = min(self.cap, self.initial * 2 ** min(self.failures, MAX_EXPONENT))
        self.failures += 1
        return stopped.wait(self.draw.jitter(limit))

    def reset(self) -> None:
        """Forget the failures, after a success."""
        self.failures = 0
