"""Table api_token: the bearer tokens of people, stored hashed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    import psycopg

PREFIX = "sp"
"""What a drawn token begins with, so that one that leaked is recognized for what it is: sp_<id>_<secret>."""

_ENSURE: LiteralString = """
    INSERT INTO api_token (hash, name, role, created_at)
    VALUES (%(hash)s, %(name)s, %(role)s, %(now)s)
    ON CONFLICT (hash) DO UPDATE SET name = excluded.name, role = excluded.role, expires_at = NULL
"""

_FORGET: LiteralString = """
    DELETE FROM api_token WHERE name = %(name)s AND id IS NULL AND hash <> ALL(%(hashes)s)
"""

_FIND: LiteralString = "SELECT name, role, expires_at, scope FROM api_token WHERE hash = %(hash)s"

_TAKEN: LiteralString = "SELECT EXISTS (SELECT FROM api_token WHERE name = %(name)s)"

_INSERT: LiteralString = """
    INSERT INTO api_token (hash, id, name, role, scope, created_by, created_at, expires_at)
    VALUES (%(hash)s, %(id)s, %(name)s, %(role)s, %(scope)s, %(created_by)s, %(created_at)s, %(expires_at)s)
"""

_PAGE: LiteralString = """
    SELECT id, name, role, scope, created_by, created_at, expires_at
      FROM api_token
     WHERE id IS NOT NULL AND (%(name)s::text IS NULL OR name = %(name)s)
     ORDER BY name
     LIMIT %(limit)s
"""

_REVOKE: LiteralString = "DELETE FROM api_token WHERE id = %(id)s RETURNING id"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """Who a token belongs to, and what it may do until when. `scope`: a selector of Dags' labels; empty: all of them."""

    name: str
    role: str
    expires_at: datetime | None
    scope: str = ""


@dataclass(frozen=True, slots=True)
class DrawnToken:
    """A token that a person drew, without its secret."""

    id: str
    name: str
    role: str
    scope: str
    created_by: str | None
    created_at: datetime
    expires_at: datetime | None


def token_hash(token: str) -> bytes:
    """Return the form in which a token is stored; a drawn token needs no salt."""
    return hashlib.sha256(token.encode()).digest()


def ensure_token(connection: psycopg.Connection, token: str, name: str, role: str, now: datetime) -> None:
    """Store a token's hash with its name and role; doing it twice is harmless."""
    connection.execute(_ENSURE, {"hash": token_hash(token), "name": name, "role": role, "now": now})


def forget_others(connection: psycopg.Connection, name: str, values: Collection[str]) -> None:
    """Remove the tokens of a name that stood in a secret and stand there no longer."""
    connection.execute(_FORGET, {"name": name, "hashes": [token_hash(value) for value in values]})


def find(connection: psycopg.Connection, hashed: bytes) -> TokenRow | None:
    """Return whom a token belongs to, or None."""
    row = connection.execute(_FIND, {"hash": hashed}).fetchone()
    return None if row is None else TokenRow(*row)


def taken(connection: psycopg.Connection, name: str) -> bool:
    """Tell whether a token has a name."""
    row = connection.execute(_TAKEN, {"name": name}).fetchone()
    return bool(row and row[0])


def insert(connection: psycopg.Connection, token: str, drawn: DrawnToken) -> None:
    """Store a drawn token."""
    connection.execute(
        _INSERT,
        {
            "hash": token_hash(token),
            "id": drawn.id,
            "name": drawn.name,
            "role": drawn.role,
            "scope": drawn.scope,
            "created_by": drawn.created_by,
            "created_at": drawn.created_at,
            "expires_at": drawn.expires_at,
        },
    )


def drawn_tokens(connection: psycopg.Connection, limit: int, name: str | None = None) -> list[DrawnToken]:
    """Return the drawn tokens by name, or the one of a name."""
    return [DrawnToken(*row) for row in connection.execute(_PAGE, {"limit": limit, "name": name})]


def revoke(connection: psycopg.Connection, token_id: str) -> bool:
    """Remove a token; tell whether it was there."""
    return connection.execute(_REVOKE, {"id": token_id}).fetchone() is not None
