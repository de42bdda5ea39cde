"""Tokens of the worker protocol: a pool's own, and one for each claim, derived so that nothing secret is stored."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crds.names import AttemptId

REREAD_SECONDS = 300.0
"""How long a secret's value is kept."""
KNOWN_LIMIT = 1_000


class Secrets(Protocol):
    """What gives secret values."""

    def values(self, name: str) -> Sequence[str]:
        """Return a secret's current value, then its previous one if there is one."""
        ...


class ClaimTokens:
    """A claim's token: HMAC-SHA256 of attempt, request and worker, so that the same request gets the same token again."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, attempt: AttemptId, request: str, worker: str) -> str:
        """Return the token of one claim."""
        return hmac.new(self._key, f"{attempt}\n{request}\n{worker}".encode(), hashlib.sha256).hexdigest()


def token_hash(token: str) -> bytes:
    """Return what the database keeps of a token."""
    return hashlib.sha256(token.encode()).digest()


@dataclass(slots=True)
class _Known:
    values: Sequence[str]
    read_at: float


class SharedTokens:
    """Tokens that stand in Secrets Manager under a name per pool; the current and the previous value are accepted."""

    def __init__(self, secrets: Secrets, name: Callable[[str], str], monotonic: Callable[[], float]) -> None:
        self._secrets = secrets
        self._name = name
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}
        self._lock = Lock()

    def known(self, pool: str, token: str) -> bool:
        """Tell without waiting whether a token is the pool's; False may only mean that its secret has to be read again."""
        with self._lock:
            known = self._known.get(pool)
        if known is None or not token or self._monotonic() - known.read_at >= REREAD_SECONDS:
            return False
        return any(hmac.compare_digest(token.encode(), value.encode()) for value in known.values)

    def accepts(self, pool: str, token: str) -> bool:
        """Tell whether a token is the pool's."""
        if not token:
            return False
        return any(hmac.compare_digest(token.encode(), value.encode()) for value in self._values(pool))

    def _values(self, pool: str) -> Sequence[str]:
        now = self._monotonic()
        with self._lock:
            known = self._known.get(pool)
            if known is not None and now - known.read_at < REREAD_SECONDS:
                return known.values
        values = self._secrets.values(self._name(pool))
        with self._lock:
            # Anyone may name a pool, so what is kept of them is bounded.
            if len(self._known) >= KNOWN_LIMIT:
                self._known.clear()
            self._known[pool] = _Known(values, now)
        return values
