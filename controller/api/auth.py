"""Who asks, and whether they may: bearer tokens with a role, a scope and an end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from threading import Lock
from typing import TYPE_CHECKING, Literal, Protocol

from controller.api.errors import RefusedError
from controller.api.selectors import parse_labels
from controller.store import tokens
from controller.store.selection import Scope

if TYPE_CHECKING:
    from controller.runtime.clock import Clock
    from controller.store.connect import Connections

# A token that is withdrawn works on for at most this long.
CACHE_SECONDS = 5.0
CACHE_LIMIT = 1_000
TOKEN_LIMIT = 4_096
"""The most characters of a token: one of an identity provider carries claims and a signature."""


class Role(IntEnum):
    """What a token may do; each role includes those before it."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """Return the role as people write it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and which Dags they are confined to: all of them without a scope."""

    name: str
    role: Role
    scope: Scope | None = None
    source: Literal["token", "oidc"] = "token"


class Identities(Protocol):
    """What knows the tokens of an identity provider."""

    def principal(self, token: str) -> Principal:
        """Return whose a token is; raise RefusedError with 401, 403 or 503."""
        ...


class ForbiddenError(RefusedError):
    """Somebody who is known may not do this."""

    def __init__(self, principal: Principal, message: str) -> None:
        super().__init__(403, "Forbidden", message)
        self.principal = principal


class Authenticator:
    """Find out whose a bearer token is, looking each up every few seconds at most."""

    def __init__(self, pool: Connections, clock: Clock, identities: Identities | None = None) -> None:
        self._pool = pool
        self._clock = clock
        self._identities = identities
        self._known: dict[bytes, tuple[float, Principal]] = {}
        self._lock = Lock()

    def seen(self, authorization: str | None) -> bool:
        """Tell without looking anything up whether this was a valid token lately."""
        scheme, _, token = (authorization or "").partition(" ")
        with self._lock:
            return scheme.lower() == "bearer" and tokens.token_hash(token.strip()) in self._known

    def check(self, authorization: str | None, needed: Role) -> Principal:
        """Return who asks; raise RefusedError with 401 for an unknown token and 403 for a role that is too low."""
        principal = self._principal(_bearer(authorization))
        if principal.role < needed:
            message = f"{principal.name} is {principal.role.word}; this needs {needed.word}"
            raise ForbiddenError(principal, message)
        return principal

    def _principal(self, token: str) -> Principal:
        hashed = tokens.token_hash(token)
        with self._lock:
            known = self._known.get(hashed)
        if known is not None and known[0] > self._clock.monotonic():
            return known[1]
        try:
            principal = self._look_up(token, hashed)
        except RefusedError:
            with self._lock:
                self._known.pop(hashed, None)
            raise
        with self._lock:
            if len(self._known) >= CACHE_LIMIT:
                self._known.clear()
            self._known[hashed] = (self._clock.monotonic() + CACHE_SECONDS, principal)
        return principal

    def _look_up(self, token: str, hashed: bytes) -> Principal:
        # A JWT has three parts; what we draw ourselves has no dot.
        if self._identities is not None and token.count(".") == 2:
            return self._identities.principal(token)
        with self._pool.connection() as connection:
            row = tokens.find(connection, hashed)
            expired = row and row.expires_at is not None and row.expires_at <= self._clock.now(connection)
        if row is None:
            raise RefusedError(401, "Unauthorized", "the token is unknown; set SETPOINT_TOKEN to a valid one")
        if expired:
            raise RefusedError(401, "Unauthorized", f"the token of {row.name} has expired; ask for a new one")
        return Principal(row.name, Role[row.role.upper()], read_scope(row.scope))


def read_scope(text: str) -> Scope | None:
    """Return the scope that a selector means, None for an empty one; raise RefusedError if it cannot be read."""
    return Scope(text, parse_labels(text)) if text.strip() else None


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > TOKEN_LIMIT:
        message = "a bearer token is needed: send 'Authorization: Bearer …' (the command takes it from SETPOINT_TOKEN)"
        raise RefusedError(401, "Unauthorized", message)
    return token
