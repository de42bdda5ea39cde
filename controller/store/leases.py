"""Table lease: one leader, with a term that grows at every change of hands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    import psycopg

# Taken when free, expired or one's own; only a change of holder begins a new term.
_ACQUIRE: LiteralString = """
    INSERT INTO lease (name, holder, term, expires_at)
    VALUES (%(name)s, %(holder)s, 1, clock_timestamp() + %(span)s)
        ON CONFLICT (name) DO UPDATE
       SET holder = excluded.holder, expires_at = excluded.expires_at,
           term = lease.term + CASE WHEN lease.holder = excluded.holder THEN 0 ELSE 1 END
     WHERE lease.holder = excluded.holder OR lease.expires_at <= clock_timestamp() OR %(seize)s
 RETURNING term, expires_at
"""

_RELEASE: LiteralString = """
    UPDATE lease SET expires_at = clock_timestamp() WHERE name = %(name)s AND holder = %(holder)s
"""

_READ: LiteralString = """
    SELECT lease.holder, coalesce(lease.term, 0), lease.expires_at, clock_timestamp(),
           coalesce(lease.expires_at > clock_timestamp(), false)
      FROM (SELECT %(name)s::text AS name) AS wanted
      LEFT JOIN lease USING (name)
"""

_TRY_LOCK: LiteralString = "SELECT pg_try_advisory_lock(hashtextextended('setpoint leader ' || %(name)s, 0))"


@dataclass(frozen=True, slots=True)
class Held:
    """A lease that this holder has."""

    term: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """A lease as anybody sees it, at a time of the database's clock."""

    holder: str
    term: int
    expires_at: datetime | None
    now: datetime
    held: bool


def acquire(connection: psycopg.Connection, name: str, holder: str, span: timedelta, *, seize: bool) -> Held | None:
    """Take or renew a lease; `seize` takes it although it has not expired, its holder's session being gone."""
    row = connection.execute(_ACQUIRE, {"name": name, "holder": holder, "span": span, "seize": seize}).fetchone()
    return Held(row[0], row[1]) if row else None


def read(connection: psycopg.Connection, name: str) -> Seen:
    """Return who holds or held a lease; nobody in term 0 if nobody ever has."""
    row = connection.execute(_READ, {"name": name}).fetchone()
    if row is None:
        raise LookupError("a left join has a row")
    return Seen(row[0] or "", *row[1:])


def release(connection: psycopg.Connection, name: str, holder: str) -> None:
    """Let a lease expire now."""
    connection.execute(_RELEASE, {"name": name, "holder": holder})


def try_lock(connection: psycopg.Connection, name: str) -> bool:
    """Take the leader's advisory lock for this session; it falls free with the session, seconds before the lease would."""
    row = connection.execute(_TRY_LOCK, {"name": name}).fetchone()
    return bool(row and row[0])
