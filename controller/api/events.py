"""Events: what happened to objects, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, Param, answer
from controller.api.errors import bad_request
from controller.api.objects import utc
from controller.api.scope import OF_DAGS, check_object
from controller.api.watch import Stream, line
from controller.store import events, views
from controller.store.events import About, EventRow
from controller.store.resources import Ref
from crds.finding import nearest
from crds.kinds import WORDS, find_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg
    from starlette.responses import Response

EVENTS_LIMIT = 1_000
EVENTS_DEFAULT = 100
LAST_EVENT = 2**63 - 1

_QUERY = (
    Param("for", "kind/name; a run's events include those of its tasks."),
    Param("limit", "At most so many events.", {"type": "integer", "maximum": EVENTS_LIMIT}),
    Param("after", "Only events with a greater id.", {"type": "integer"}),
    Param("watch", "Stream new events as lines of JSON.", {"type": "boolean"}),
)


def endpoints(namespace: str) -> list[Endpoint]:
    """Return the endpoint for events."""
    path = f"{namespace}/events"
    text, codes = "List events, oldest first", (200, 404, 429)
    return [Endpoint("GET", path, Role.VIEWER, _events, text, _QUERY, answer="EventList", codes=codes)]


def _events(deps: ApiDeps, call: Call) -> Response:
    limit = call.number("limit", EVENTS_DEFAULT, EVENTS_LIMIT)
    seen = call.number("after", 0, LAST_EVENT)
    with deps.pool.connection() as connection:
        about = _about(connection, call)
        newest = "after" not in call.query
        found = events.latest(connection, about, limit) if newest else events.after(connection, about, seen, limit)
    if call.flag("watch"):
        return _watch(deps, call, about, found, seen)
    return answer({"kind": "EventList", "items": [_view(event) for event in found]})


def _watch(deps: ApiDeps, call: Call, about: About, first: Sequence[EventRow], after: int) -> Response:
    waiting = list(first)
    seen = after

    def look() -> list[bytes]:
        nonlocal waiting, seen
        found, waiting = waiting, []
        if not found:
            with deps.pool.connection() as connection:
                found = events.after(connection, about, seen, EVENTS_LIMIT)
        seen = max([seen, *(event.id for event in found)])
        return [line("ADDED", _view(event)) for event in found]

    return Stream(call.share, look).response("application/x-ndjson")


def _about(connection: psycopg.Connection, call: Call) -> About:
    text = call.query.get("for")
    if text is None:
        return About(call.namespace, scope=call.principal.scope)
    word, _, name = text.partition("/")
    kind = find_kind(word)
    if kind is None or not name:
        hint = f"; did you mean {near}/…?" if kind is None and (near := nearest(word, WORDS)) else ""
        raise bad_request(f"for is kind/name, not {text[:100]!r}{hint}")
    scope = call.principal.scope
    if scope is not None and kind.name in OF_DAGS:
        check_object(connection, scope, Ref(kind.name, call.namespace, name))
    if kind.name != "DagRun":
        return About(call.namespace, kind.name, name, scope=scope)
    return About(call.namespace, kind.name, name, views.run_uid(connection, call.namespace, name))


def _view(event: EventRow) -> dict[str, Any]:
    return {
        "id": event.id,
        "time": utc(event.at),
        "type": event.type,
        "kind": event.kind,
        "name": event.name,
        "reason": event.reason,
        "message": event.message,
    }
