"""Turn NOTIFY into keys."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import structlog

from controller.runtime.wakes import CHANNEL, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.runtime.keys import Key

log = structlog.get_logger()
LISTEN_FOR = 1.0
AGAIN_AFTER = 1.0


class Notifications:
    """One thread that listens; what is notified while it has no connection is found by timers and the resync."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        enqueue: Callable[[Iterable[Key]], None],
        leads: Callable[[], bool],
    ) -> None:
        self._connect = connect
        self._enqueue = enqueue
        self._leads = leads
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Cease to listen."""
        self._stop.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._connect() as connection:
                    connection.autocommit = True
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._listen(connection)
            except psycopg.Error as error:
                log.warning("notifications: no database; trying again", error=str(error).strip())
                self._stop.wait(AGAIN_AFTER)

    def _listen(self, connection: psycopg.Connection) -> None:
        while not self._stop.is_set():
            for notice in connection.notifies(timeout=LISTEN_FOR, stop_after=1):
                if self._leads():
                    self._enqueue(decode(notice.payload))
