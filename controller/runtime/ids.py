"""The one place that draws names. Everything that can be derived is derived in crds.names instead."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class Ids(Protocol):
    """What draws new names."""

    def uid(self, now: datetime) -> str:
        """Return a new unique id that sorts by time, 20 lower-case hex digits."""
        ...


class DrawnIds:
    """48 bits of milliseconds, then 32 random bits, so that index pages fill in order."""

    def uid(self, now: datetime) -> str:
        """Return 20 hex digits."""
        return f"{int(now.timestamp() * 1000):012x}{secrets.token_hex(4)}"
