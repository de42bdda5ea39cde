"""Play EventBridge's schedule: once a minute, tell the dispatcher to look at the schedules."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

EVERY = 60.0
EVENT = {"source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": {}}


class Ticker:
    """One thread; a lost tick is harmless, because the dispatcher decides by its schedules, not by ticks."""

    def __init__(self, url: str, token_file: Path) -> None:
        self._url = f"{url}/v1/events"
        self._token_file = token_file
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Begin to tick, at full minutes."""
        self._thread.start()

    def stop(self) -> None:
        """Cease to tick."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY - time.time() % EVERY):
            with suppress(OSError):
                self._tick()

    def _tick(self) -> None:
        request = urllib.request.Request(  # noqa: S310 - the URL is our own
            self._url,
            json.dumps(EVENT).encode(),
            {"Authorization": f"Bearer {self._token_file.read_text()}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - the URL is our own
