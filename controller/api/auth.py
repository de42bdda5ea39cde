"""Who asks, and whether they may: bearer tokens with a role."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from threading import Lock
from typing import TYPE_CHECKING

from controller.api.errors import RefusedError
from controller.store import tokens

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool

    from controller.runtime.clock import Clock

# A token that is withdrawn works on for at most this long.
CACHE_SECONDS = 5.0
CACHE_LIMIT = 1_000
TOKEN_LIMIT = 512


class Role(IntEnum):
    """What a token may do; each role includes those before it."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    name: str
    role: Role


class Authenticator:
    """Find out whose a bearer token is, looking each up in the database every few seconds at most."""

    def __init__(self, pool: ConnectionPool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._known: dict[bytes, tuple[float, Principal]] = {}
        self._lock = Lock()

    def check(self, authorization: str | None, needed: Role) -> Principal:
        """Return who asks; raise RefusedError with 401 for an unknown token and 403 for a role that is too low."""
        principal = self._principal(_bearer(authorization))
        if principal.role < needed:
            message = f"{principal.name} is {principal.role.name.lower()}; this needs {needed.name.lower()}"
            raise RefusedError(403, "Forbidden", message)
        return principal

    def _principal(self, token: str) -> Principal:
        hashed = tokens.token_hash(token)
        with self._lock:
            known = self._known.get(hashed)
        if known is not None and known[0] > self._clock.monotonic():
            return known[1]
        principal = self._look_up(hashed)
        with self._lock:
            if len(self._known) >= CACHE_LIMIT:
                self._known.clear()
            self._known[hashed] = (self._clock.monotonic() + CACHE_SECONDS, principal)
        return principal

    def _look_up(self, hashed: bytes) -> Principal:
        with self._pool.connection() as connection:
            row = tokens.find(connection, hashed)
            expired = row and row.expires_at is not None and row.expires_at <= self._clock.now(connection)
        if row is None:
            raise RefusedError(401, "Unauthorized", "the token is unknown; set SETPOINT_TOKEN to a valid one")
        if expired:
            raise RefusedError(401, "Unauthorized", f"the token of {row.name} has expired; ask for a new one")
        return Principal(row.name, Role[row.role.upper()])


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > TOKEN_LIMIT:
        message = "a bearer token is needed: send 'Authorization: Bearer …' (the command takes it from SETPOINT_TOKEN)"
        raise RefusedError(401, "Unauthorized", message)
    return token
