"""Table api_token: the bearer tokens of people, stored hashed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

_ENSURE: LiteralString = """
    INSERT INTO api_token (hash, name, role, created_at)
    VALUES (%(hash)s, %(name)s, %(role)s, %(now)s)
    ON CONFLICT (hash) DO UPDATE SET name = excluded.name, role = excluded.role, expires_at = NULL
"""

_FIND: LiteralString = "SELECT name, role, expires_at FROM api_token WHERE hash = %(hash)s"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """Who a token belongs to, and what it may do until when."""

    name: str
    role: str
    expires_at: datetime | None


def token_hash(token: str) -> bytes:
    """Return the form in which a token is stored; a drawn token needs no salt."""
    return hashlib.sha256(token.encode()).digest()


def ensure_token(connection: psycopg.Connection, token: str, name: str, role: str, now: datetime) -> None:
    """Store a token's hash with its name and role; doing it twice is harmless."""
    connection.execute(_ENSURE, {"hash": token_hash(token), "name": name, "role": role, "now": now})


def find(connection: psycopg.Connection, hashed: bytes) -> TokenRow | None:
    """Return whom a token belongs to, or None."""
    row = connection.execute(_FIND, {"hash": hashed}).fetchone()
    return None if row is None else TokenRow(*row)
