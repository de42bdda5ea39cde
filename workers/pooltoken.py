"""The token by which a pool's workers speak to the dispatcher."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from crds.redaction import KNOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.clock import Clock

REREAD_SECONDS = 300.0
# A refused token is read again at most this often, so that a wrong one does not flood Secrets Manager.
REFUSED_SECONDS = 5.0


class TokenSource(Protocol):
    """Where the pool token comes from."""

    def current(self) -> str:
        """Return the token."""

    def refused(self) -> None:
        """Learn that the dispatcher refused the token, so that it is read again."""


@dataclass(frozen=True, slots=True)
class FixedToken:
    """A token that was given at the start."""

    value: str

    def current(self) -> str:
        """Return the token."""
        return self.value

    def refused(self) -> None:
        """Keep the token: there is no other."""


class SecretToken:
    """A token in Secrets Manager, read again every five minutes, so that it can be rotated."""

    def __init__(self, read: Callable[[], str], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._lock = Lock()
        self._value = ""
        self._read_again_at = clock.monotonic()
        self._read_at = self._read_again_at

    def current(self) -> str:
        """Return the token; keep the old one while Secrets Manager does not answer."""
        with self._lock:
            if self._clock.monotonic() >= self._read_again_at:
                self._refresh()
            return self._value

    def refused(self) -> None:
        """Read the token again before its next use."""
        with self._lock:
            self._read_again_at = min(self._read_again_at, self._read_at + REFUSED_SECONDS)

    def _refresh(self) -> None:
        self._read_at = self._clock.monotonic()
        self._read_again_at = self._read_at + REFUSED_SECONDS
        try:
            self._value = self._read()
            KNOWN.add(self._value)
        except Exception:
            if not self._value:
                raise
            return
        self._read_again_at = self._read_at + REREAD_SECONDS
