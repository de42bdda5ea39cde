"""Lists, single objects and watches of all kinds; and the table of all endpoints of the resource API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from controller.api import (
    apply,
    audit_log,
    bundles,
    credentials,
    deletion,
    doctor,
    events,
    explain,
    leadership,
    logs,
    openapi,
    reopen,
    revisions,
    runs,
    triggers,
)
from controller.api.auth import Role
from controller.api.endpoint import (
    ApiDeps,
    Call,
    Endpoint,
    Param,
    Share,
    Threads,
    answer,
    page_token,
    parse_page_token,
    route,
)
from controller.api.gate import Gate
from controller.api.objects import listing
from controller.api.reads import COLLECTIONS, Collection, everything, one
from controller.api.selectors import parse_fields, parse_labels
from controller.api.watch import Changes, Stream
from controller.store.selection import PAGE_LIMIT, Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.responses import Response

    from controller.doctor import Check


NAMESPACE = "/apis/setpoint.dev/v1/namespaces/{ns}"
WATCH_LIMIT = 5_000
NAME_FIELD = "metadata.name"

_LIST_QUERY = (
    Param("labelSelector", "Labels that must match, as kubectl writes them."),
    Param("fieldSelector", "Fields that must match: metadata.name, run, dag, task, phase."),
    Param("limit", f"At most so many objects, {PAGE_LIMIT} by default.", {"type": "integer", "maximum": PAGE_LIMIT}),
    Param("continue", "metadata.continue of the page before."),
    Param("watch", "Stream changes as lines of JSON.", {"type": "boolean"}),
)


def resource_routes(deps: ApiDeps, checks: Sequence[Check] = ()) -> list[Route]:
    """Return the routes of the resource API."""
    gate, threads = Gate(deps), Threads()
    endpoints = all_endpoints(checks)
    document = openapi.document(endpoints)

    async def describe(_request: object) -> Response:
        return answer(document)

    routes = [route(deps, endpoint, gate, threads) for endpoint in endpoints]
    return [*routes, Route("/openapi.json", describe, methods=["GET"])]


def all_endpoints(checks: Sequence[Check] = ()) -> list[Endpoint]:
    """Return every endpoint of the resource API."""
    found = [
        *(endpoint for plural in COLLECTIONS for endpoint in _endpoints(plural)),
        *apply.endpoints(NAMESPACE),
        *deletion.endpoints(NAMESPACE),
        *triggers.endpoints(NAMESPACE),
        *revisions.endpoints(NAMESPACE),
        *runs.endpoints(NAMESPACE),
        *reopen.endpoints(NAMESPACE),
        *explain.endpoints(NAMESPACE),
        *logs.endpoints(NAMESPACE),
        *events.endpoints(NAMESPACE),
        *bundles.endpoints(),
        *audit_log.endpoints(NAMESPACE),
        *doctor.Doctor(checks).endpoints(),
        *leadership.endpoints(),
    ]
    return [*found, *credentials.endpoints(found)]


def _endpoints(plural: str) -> Iterable[Endpoint]:
    collection = COLLECTIONS[plural]
    kind = collection.kind
    path = f"{NAMESPACE}/{plural}"

    def list_(deps: ApiDeps, call: Call) -> Response:
        return _list(deps, call, collection)

    def get(deps: ApiDeps, call: Call) -> Response:
        with deps.pool.connection() as connection:
            return answer(one(connection, plural, call.namespace, call.name, deps.clock.now(connection)))

    yield Endpoint(
        "GET", path, Role.VIEWER, list_, f"List {plural}", _LIST_QUERY, answer=f"{kind}List", codes=(200, 410, 429)
    )
    yield Endpoint("GET", f"{path}/{{name}}", Role.VIEWER, get, f"Get one {kind}", answer=kind, codes=(200, 404))


def _list(deps: ApiDeps, call: Call, collection: Collection) -> Response:
    # A task run has no name of its own in the store; its run and task find it.
    allowed = collection.fields if collection.kind == "TaskRun" else {*collection.fields, NAME_FIELD}
    fields = parse_fields(call.query.get("fieldSelector"), allowed)
    selection = Selection(
        call.namespace,
        name=fields.get(NAME_FIELD),
        dag=fields.get("dag"),
        run=fields.get("run"),
        task=fields.get("task"),
        phase=fields.get("phase"),
        labels=parse_labels(call.query.get("labelSelector")),
        scope=call.principal.scope,
        after=parse_page_token(call.query.get("continue"), collection.key),
        limit=call.number("limit", PAGE_LIMIT, PAGE_LIMIT),
    )
    if call.flag("watch"):
        return _watch(deps, call.share, collection, selection)
    with deps.pool.connection() as connection:
        page = collection.lister(connection, selection, deps.clock.now(connection))
    return answer(listing(collection.kind, page.items, page_token(page.next)))


def _watch(deps: ApiDeps, share: Share, collection: Collection, selection: Selection) -> Response:
    changes = Changes(deletable=collection.deletable)

    def look() -> list[bytes]:
        with deps.pool.connection() as connection:
            now = deps.clock.now(connection)
            return changes.since(everything(connection, collection, selection, now, WATCH_LIMIT))

    return Stream(share, look).response("application/x-ndjson")
