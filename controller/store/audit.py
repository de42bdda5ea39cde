"""Table audit: who changed what, from where, and what was refused. Rows are added and never changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, LiteralString

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg

Outcome = Literal["done", "refused"]

# The time is the database's own, so that no dispatcher's clock can put a row into another place.
_RECORD: LiteralString = """
    INSERT INTO audit (at, who, role, source, address, verb, kind, namespace, name, outcome, changes, message, request_id)
    VALUES (clock_timestamp(), %(who)s, %(role)s, %(source)s, %(address)s, %(verb)s, %(kind)s, %(namespace)s, %(name)s,
            %(outcome)s, %(changes)s, %(message)s, %(request_id)s)
"""

_PAGE: LiteralString = """
    SELECT id, at, who, role, source, address, verb, kind, namespace, name, outcome, changes, message, request_id
      FROM audit
     WHERE namespace IN (%(namespace)s, '')
       AND (%(who)s::text IS NULL OR who = %(who)s)
       AND (%(kind)s::text IS NULL OR kind = %(kind)s)
       AND (%(name)s::text IS NULL OR name = %(name)s)
       AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
       AND (%(before_at)s::timestamptz IS NULL OR (at, id) < (%(before_at)s::timestamptz, %(before_id)s::bigint))
     ORDER BY at DESC, id DESC
     LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked, from where, by which request."""

    who: str
    role: str
    source: str
    address: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What was done to one object, or refused. What concerns no namespace has an empty one."""

    verb: str
    kind: str
    namespace: str
    name: str
    changes: Sequence[Mapping[str, Any]] = ()
    message: str = ""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row, as it is read."""

    id: int
    at: datetime
    actor: Actor
    entry: Entry
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows are read, newest first; `before` is the time and id of the last one on the page before."""

    namespace: str
    who: str | None = None
    kind: str | None = None
    name: str | None = None
    since: datetime | None = None
    before: tuple[datetime, int] | None = None


def record(connection: psycopg.Connection, actor: Actor, entries: Sequence[Entry], outcome: Outcome) -> None:
    """Append rows, within the caller's transaction."""
    if not entries:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            _RECORD,
            [
                {
                    "who": actor.who,
                    "role": actor.role,
                    "source": actor.source,
                    "address": actor.address,
                    "request_id": actor.request_id,
                    "verb": entry.verb,
                    "kind": entry.kind,
                    "namespace": entry.namespace,
                    "name": entry.name,
                    "outcome": outcome,
                    "changes": Jsonb(list(entry.changes)),
                    "message": entry.message,
                }
                for entry in entries
            ],
        )


def page(connection: psycopg.Connection, wanted: Wanted, limit: int) -> list[AuditRow]:
    """Return rows of a namespace, and those of none, newest first."""
    at, before = wanted.before or (None, None)
    rows = connection.execute(
        _PAGE,
        {
            "namespace": wanted.namespace,
            "who": wanted.who,
            "kind": wanted.kind,
            "name": wanted.name,
            "since": wanted.since,
            "before_at": at,
            "before_id": before,
            "limit": limit,
        },
    )
    return [_row(row) for row in rows]


def _row(row: Sequence[Any]) -> AuditRow:
    number, at, who, role, source, address, verb, kind, namespace, name, outcome, changes, message, request = row
    actor = Actor(who, role, source, address, request)
    return AuditRow(number, at, actor, Entry(verb, kind, namespace, name, changes, message), outcome)
