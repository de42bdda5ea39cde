"""Table event: what happened to objects, and why, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from controller.store.selection import OWNER_BY_NAME, OWNER_OF_RUN, Scope, scope_params

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

    from controller.actions import Event

_RECORD: LiteralString = """
    INSERT INTO event (at, type, namespace, kind, name, run_uid, reason, message)
    SELECT %(now)s, * FROM unnest(%(types)s::text[], %(namespaces)s::text[], %(kinds)s::text[], %(names)s::text[],
                                  %(runs)s::text[], %(reasons)s::text[], %(messages)s::text[])
"""

# What scoped callers do not see: events of others' Dags and their runs, and of Dags that are gone.
_IN_SCOPE: LiteralString = (
    "(NOT %(scoped)s::boolean OR CASE WHEN event.kind = 'Dag' THEN EXISTS ("
    + OWNER_BY_NAME
    + ") WHEN event.kind IN ('DagRun', 'TaskRun') OR event.run_uid IS NOT NULL THEN EXISTS ("
    + OWNER_OF_RUN
    + ") ELSE true END)"
)

# The newest ones, but in the order in which they happened.
_LATEST: LiteralString = (
    """
    SELECT * FROM (
        SELECT id, at, type, kind, name, reason, message
          FROM event
         WHERE namespace = %(namespace)s AND (%(kind)s::text IS NULL OR kind = %(kind)s AND name = %(name)s)
           AND """  # noqa: S608 - both parts are constants
    + _IN_SCOPE
    + """
         ORDER BY id DESC
         LIMIT %(limit)s) AS newest
     ORDER BY id
"""
)

_LATEST_OF_RUN: LiteralString = """
    SELECT * FROM (
        SELECT id, at, type, kind, name, reason, message
          FROM event
         WHERE run_uid = %(run)s
         ORDER BY id DESC
         LIMIT %(limit)s) AS newest
     ORDER BY id
"""

_AFTER: LiteralString = (
    """
    SELECT id, at, type, kind, name, reason, message
      FROM event
     WHERE namespace = %(namespace)s AND id > %(after)s
       AND (%(kind)s::text IS NULL OR kind = %(kind)s AND name = %(name)s)
       AND """  # noqa: S608 - both parts are constants
    + _IN_SCOPE
    + """
     ORDER BY id
     LIMIT %(limit)s
"""
)

_AFTER_OF_RUN: LiteralString = """
    SELECT id, at, type, kind, name, reason, message
      FROM event
     WHERE run_uid = %(run)s AND id > %(after)s
     ORDER BY id
     LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event; ids grow with time."""

    id: int
    at: datetime
    type: str
    kind: str
    name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class About:
    """Whose events are meant: a run's (with those of its tasks), one object's, or all of a namespace."""

    namespace: str
    kind: str | None = None
    name: str | None = None
    run: str | None = None
    scope: Scope | None = None


def record(connection: psycopg.Connection, events: Sequence[Event], now: datetime) -> None:
    """Append events."""
    if not events:
        return
    connection.execute(
        _RECORD,
        {
            "now": now,
            "types": [e.type for e in events],
            "namespaces": [e.namespace for e in events],
            "kinds": [e.kind for e in events],
            "names": [e.name for e in events],
            "runs": [e.run for e in events],
            "reasons": [e.reason for e in events],
            "messages": [e.message for e in events],
        },
    )


def latest(connection: psycopg.Connection, about: About, limit: int) -> list[EventRow]:
    """Return the newest events, oldest first."""
    query = _LATEST if about.run is None else _LATEST_OF_RUN
    return [EventRow(*row) for row in connection.execute(query, _params(about, limit))]


def after(connection: psycopg.Connection, about: About, seen: int, limit: int) -> list[EventRow]:
    """Return the events behind one that was seen, oldest first."""
    query = _AFTER if about.run is None else _AFTER_OF_RUN
    return [EventRow(*row) for row in connection.execute(query, _params(about, limit) | {"after": seen})]


def _params(about: About, limit: int) -> dict[str, object]:
    return {
        "namespace": about.namespace,
        "kind": about.kind,
        "name": about.name,
        "run": about.run,
        "limit": limit,
    } | scope_params(about.scope)
