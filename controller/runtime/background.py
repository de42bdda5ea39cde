"""A thread that works until it is told to stop."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod


class Background(ABC):
    """One daemon thread around `run`, which ends soon after `stopping` is set."""

    def __init__(self, name: str) -> None:
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, timeout: float | None = None) -> None:
        """Tell the thread to end and wait for it, at most `timeout` seconds."""
        self.stopping.set()
        self._thread.join(timeout)

    @abstractmethod
    def run(self) -> None:
        """Work until `stopping` is set."""
