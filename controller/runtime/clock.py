"""The one place that tells the time. Decisions use Postgres's clock; spans use the process's monotonic one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, LiteralString, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

_NOW: LiteralString = "SELECT clock_timestamp()"


class Clock(Protocol):
    """What tells the time."""

    def now(self, connection: psycopg.Connection) -> datetime:
        """Return the time of the database that the connection leads to."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only grow, for spans within this process."""
        ...


class DatabaseClock:
    """Postgres's time: no host clock is compared with another's."""

    def now(self, connection: psycopg.Connection) -> datetime:
        """Return the database's clock_timestamp()."""
        row = connection.execute(_NOW).fetchone()
        if row is None:
            raise RuntimeError("the database told no time")
        now: datetime = row[0]
        return now

    def monotonic(self) -> float:
        """Return the process's monotonic seconds."""
        return time.monotonic()
