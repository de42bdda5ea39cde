"""One leader by a lease in Postgres; two at once for a moment do no harm."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import structlog

from controller.runtime.background import Background
from controller.runtime.metrics import LEADER
from controller.store import leases

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger()
LEASE = timedelta(seconds=15)
RENEW_EVERY = 5.0
STANDBY_EVERY = 1.0
"""How often, in seconds, a standby tries: the leader's session lock may fall free long before its lease."""
NAME = "dispatcher"


class Leader(Background):
    """A thread that takes the lease, renews it, and tells when this process begins and ceases to lead."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        holder: str,
        began: Callable[[], None],
        ceased: Callable[[], None],
    ) -> None:
        super().__init__("leader")
        self._connect = connect
        self._holder = holder
        self._began = began
        self._ceased = ceased
        self._leads = threading.Event()

    def leads(self) -> bool:
        """Tell whether this process leads, as far as it knows."""
        return self._leads.is_set()

    def run(self) -> None:
        """Try to lead, and go on leading."""
        while not self.stopping.is_set():
            try:
                with self._connect() as connection:
                    connection.autocommit = True
                    self._hold(connection)
            except psycopg.Error as error:
                log.warning("lease: no database; trying again", error=str(error).strip())
            self._cease()
            self.stopping.wait(STANDBY_EVERY)

    def _hold(self, connection: psycopg.Connection) -> None:
        """Try, then renew, over one session, until stopped or lost."""
        locked = False
        while not self.stopping.is_set():
            # The lock belongs to the session: whoever gets it knows that the former leader's session is gone.
            locked = locked or leases.try_lock(connection, NAME)
            held = leases.acquire(connection, NAME, self._holder, LEASE, seize=locked)
            if held is None:
                self._cease()
            elif not self._leads.is_set():
                self._leads.set()
                LEADER.labels(NAME).set(1)
                log.info("leads", holder=self._holder, term=held.term)
                self._began()
            self.stopping.wait(RENEW_EVERY if held else STANDBY_EVERY)
        self._cease()
        leases.release(connection, NAME, self._holder)

    def _cease(self) -> None:
        if self._leads.is_set():
            self._leads.clear()
            LEADER.labels(NAME).set(0)
            log.info("leads no longer", holder=self._holder)
            self._ceased()
