"""Look for invocations that Lambda gave up, as long as this process leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from controller.errors import SetpointError
from controller.runtime.background import Background

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger()
AGAIN_AFTER = 5.0
IDLE_WAIT = 1.0


class FailedInvocations(Background):
    """One thread; what it does not see costs a lease or a deadline, never an attempt."""

    def __init__(self, look: Callable[[], int], leads: Callable[[], bool]) -> None:
        super().__init__("failed-invocations")
        self._look = look
        self._leads = leads

    def run(self) -> None:
        """Look again and again; each look waits for news itself."""
        while not self.stopping.is_set():
            if not self._leads():
                self.stopping.wait(IDLE_WAIT)
                continue
            try:
                self._look()
            except (SetpointError, psycopg.Error, PoolTimeout) as error:
                log.warning("cannot look at failed invocations; trying again", error=str(error).strip())
                self.stopping.wait(AGAIN_AFTER)
