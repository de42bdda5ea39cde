"""Publish to CloudWatch what a worker counts: lines of Embedded Metric Format in its log."""

from __future__ import annotations

import sys
from threading import Event, Thread
from typing import TYPE_CHECKING

from crds.emf import Exporter
from workers.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from crds.instruments import Instruments

PUBLISH_EVERY = 15.0
CLOSE_SECONDS = 1.0


def say(line: bytes) -> None:
    """Write a line that stands beside those of the log."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.flush()


class CloudWatch:
    """One thread that writes what came since it last did; nothing without an environment's name."""

    def __init__(
        self, instruments: Instruments, environment: str, pool: str, write: Callable[[bytes], object] = say
    ) -> None:
        self._exporter = Exporter(instruments, environment, pool) if environment else None
        self._write = write
        self._clock = Clock()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="cloudwatch", daemon=True)

    def start(self) -> None:
        """Begin to publish every PUBLISH_EVERY seconds."""
        if self._exporter is not None:
            self._thread.start()

    def close(self) -> None:
        """Publish what is left, and end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def publish(self) -> None:
        """Write what there is to say now."""
        if self._exporter is not None:
            for line in self._exporter.lines(self._clock.now().timestamp()):
                self._write(line)

    def _run(self) -> None:
        while not self._stopping.wait(PUBLISH_EVERY):
            self.publish()
        self.publish()
