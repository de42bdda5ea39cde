"""The one place where workers read the time and draw what must be drawn."""

from __future__ import annotations

import random
import secrets
import time
from datetime import UTC, datetime


class Clock:
    """The host's clocks. No time of this host is ever compared with another's."""

    def now(self) -> datetime:
        """Return the wall clock in UTC, for logs."""
        return datetime.now(UTC)  # noqa: TID251 - this module is the workers' source of time

    def monotonic(self) -> float:
        """Return seconds that only grow, for deadlines."""
        return time.monotonic()


class Draw:
    """Draw the ids that cannot be derived, and jitter."""

    def token(self) -> str:
        """Return 16 hexadecimal digits that no one has drawn before."""
        return secrets.token_hex(8)

    def jitter(self, limit: float) -> float:
        """Return a number of seconds from 0 to `limit`."""
        return random.uniform(0, limit)  # noqa: S311 - spreads retries, keeps no secret
