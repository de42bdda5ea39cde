"""Turn NOTIFY into keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import structlog

from controller.runtime.background import Background
from controller.runtime.wakes import CHANNEL, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.runtime.keys import Key

log = structlog.get_logger()
LISTEN_FOR = 1.0
AGAIN_AFTER = 1.0


class Notifications(Background):
    """One thread that listens; what is notified while it has no connection is found by timers and the resync."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        enqueue: Callable[[Iterable[Key]], None],
        leads: Callable[[], bool],
    ) -> None:
        super().__init__("notifications")
        self._connect = connect
        self._enqueue = enqueue
        self._leads = leads

    def run(self) -> None:
        """Listen, and pass on what is notified."""
        while not self.stopping.is_set():
            try:
                with self._connect() as connection:
                    connection.autocommit = True
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._listen(connection)
            except psycopg.Error as error:
                log.warning("notifications: no database; trying again", error=str(error).strip())
                self.stopping.wait(AGAIN_AFTER)

    def _listen(self, connection: psycopg.Connection) -> None:
        while not self.stopping.is_set():
            for notice in connection.notifies(timeout=LISTEN_FOR, stop_after=1):
                if self._leads():
                    self._enqueue(decode(notice.payload))
