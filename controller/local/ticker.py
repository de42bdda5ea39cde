"""Play EventBridge's schedule: once a minute, tell the dispatcher to look at the schedules."""

from __future__ import annotations

import json
import time
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

from controller.runtime.background import Background

EVERY = 60.0
EVENT = {"type": "cron"}


class Ticker(Background):
    """One thread; a lost tick is harmless, because the dispatcher decides by its schedules, not by ticks."""

    def __init__(self, url: str, token_file: Path) -> None:
        super().__init__("ticker")
        self._url = f"{url}/v1/events"
        self._token_file = token_file

    def run(self) -> None:
        """Tick at full minutes."""
        while not self.stopping.wait(EVERY - time.time() % EVERY):
            with suppress(OSError):
                self._tick()

    def _tick(self) -> None:
        request = urllib.request.Request(  # noqa: S310 - the URL is our own
            self._url,
            json.dumps(EVENT).encode(),
            {"Authorization": f"Bearer {self._token_file.read_text()}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - the URL is our own
