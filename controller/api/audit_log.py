"""Read the audit log: who did what, newest first."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, Param, answer, page_token, parse_page_token
from controller.api.errors import bad_request
from controller.api.objects import utc
from controller.store import audit
from controller.store.audit import AuditRow, Wanted
from crds.finding import shown
from crds.kinds import find_kind

if TYPE_CHECKING:
    from starlette.responses import Response

AUDIT_LIMIT = 500
AUDIT_DEFAULT = 100

_KEY = tuple[Annotated[datetime, msgspec.Meta(tz=True)], Annotated[int, msgspec.Meta(ge=0, lt=2**62)]]
_QUERY = (
    Param("who", "Only what this caller did."),
    Param("kind", "Only what was done to objects of a kind; Token and Bundle are some too."),
    Param("name", "Only what was done to objects of a name."),
    Param("since", "Only what was done at or after a time, as in 2026-01-31T08:00:00Z."),
    Param("limit", "At most so many rows.", {"type": "integer", "maximum": AUDIT_LIMIT}),
    Param("continue", "metadata.continue of the page before."),
)


def endpoints(namespace: str) -> list[Endpoint]:
    """Return the endpoint of the audit log."""
    text = "List who did what in a namespace, newest first, and what concerns no namespace"
    return [
        Endpoint("GET", f"{namespace}/audit", Role.ADMIN, _audit, text, _QUERY, answer="AuditList", codes=(200, 410))
    ]


def _audit(deps: ApiDeps, call: Call) -> Response:
    limit = call.number("limit", AUDIT_DEFAULT, AUDIT_LIMIT)
    before = parse_page_token(call.query.get("continue"), _KEY)
    wanted = Wanted(
        call.namespace,
        call.query.get("who"),
        _kind(call.query.get("kind")),
        call.query.get("name"),
        _time(call.query.get("since")),
        (before[0], before[1]) if before else None,
    )
    with deps.pool.connection() as connection:
        found = audit.page(connection, wanted, limit)
    last = (found[-1].at.isoformat(), found[-1].id) if len(found) == limit else None
    metadata = {"continue": page_token(last)} if last else {}
    return answer({"kind": "AuditList", "metadata": metadata, "items": [_view(row) for row in found]})


def _kind(text: str | None) -> str | None:
    kind = find_kind(text) if text else None
    return kind.name if kind else text


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise bad_request(f"since is a time as 2026-01-31T08:00:00Z, not {shown(text)}") from error
    if found.tzinfo is None:
        raise bad_request(f"since needs a time zone: write {shown(text + 'Z')}")
    return found


def _view(row: AuditRow) -> dict[str, Any]:
    actor, entry = row.actor, row.entry
    return {
        "id": row.id,
        "time": utc(row.at),
        "who": actor.who,
        "role": actor.role,
        "source": actor.source,
        "address": actor.address,
        "verb": entry.verb,
        "kind": entry.kind,
        "namespace": entry.namespace,
        "name": entry.name,
        "outcome": row.outcome,
        "changes": list(entry.changes),
        "message": entry.message,
        "requestId": actor.request_id,
    }
