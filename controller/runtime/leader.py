"""One leader by a lease in Postgres; two at once for a moment do no harm."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import structlog

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


class Leader:
    """A thread that takes the lease, renews it, and tells when this process begins and ceases to lead."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        holder: str,
        began: Callable[[], None],
        ceased: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._holder = holder
        self._began = began
        self._ceased = ceased
        self._stop = threading.Event()
        self._leads = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)

    def start(self) -> None:
        """Begin to try."""
        self._thread.start()

    def leads(self) -> bool:
        """Tell whether this process leads, as far as it knows."""
        return self._leads.is_set()

    def stop(self, timeout: float) -> None:
        """Cease to lead and let the lease go, so that a standby takes over at once."""
        self._stop.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._connect() as connection:
                    connection.autocommit = True
                    self._hold(connection)
            except psycopg.Error as error:
                log.warning("lease: no database; trying again", error=str(error).strip())
            self._cease()
            self._stop.wait(STANDBY_EVERY)

    def _hold(self, connection: psycopg.Connection) -> None:
        """Try, then renew, over one session, until stopped or lost."""
        locked = False
        while not self._stop.is_set():
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
            self._stop.wait(RENEW_EVERY if held else STANDBY_EVERY)
        self._cease()
        leases.release(connection, NAME, self._holder)

    def _cease(self) -> None:
        if self._leads.is_set():
            self._leads.clear()
            LEADER.labels(NAME).set(0)
            log.info("leads no longer", holder=self._holder)
            self._ceased()
