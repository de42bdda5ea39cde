"""Publish to CloudWatch what the registry shows: a line of the log for each set of dimensions, every 15 seconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from controller.runtime.background import Background
from controller.runtime.metrics import INSTRUMENTS
from crds.emf import Exporter

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLISH_EVERY = 15.0


class Publisher(Background):
    """One thread that writes lines of Embedded Metric Format.

    Every dispatcher publishes what it counts itself. What the fleet is like stands in the leader's registry alone.
    """

    def __init__(
        self, environment: str, write: Callable[[bytes], object], wall: Callable[[], float] = time.time
    ) -> None:
        super().__init__("cloudwatch")
        self._exporter = Exporter(INSTRUMENTS, environment)
        self._write = write
        self._wall = wall

    def run(self) -> None:
        """Publish every PUBLISH_EVERY seconds, and what is left at the end."""
        while not self.stopping.wait(PUBLISH_EVERY):
            self.publish()
        self.publish()

    def publish(self) -> None:
        """Write what there is to say now."""
        for line in self._exporter.lines(self._wall()):
            self._write(line)
