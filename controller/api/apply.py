"""Apply resources: all of a request or nothing, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import obstore
import psycopg
from obstore.exceptions import NotFoundError

from controller.api.audit import shown_changes
from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, Handler, Param, answer
from controller.api.errors import RefusedError, bad_request, invalid
from controller.api.objects import utc
from controller.api.reads import observed_dags
from controller.api.scope import check_apply
from controller.api.upsert import Applied, problem, upsert
from controller.store import resources
from controller.store.audit import Entry
from crds.check import MAX_FINDINGS
from crds.dag import Dag
from crds.finding import shown
from crds.kinds import APPLIED
from crds.names import bundle_key
from crds.parse import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obstore.store import ObjectStore
    from starlette.responses import Response

    from controller.observed import Stored
    from crds.meta import Resource

MAX_RESOURCES = 2_000
_SHOWN = 80

_DRY_RUN = (Param("dryRun", "All: check everything, change nothing."),)


def endpoints(namespace: str) -> list[Endpoint]:
    """Return the endpoints by which people apply resources."""
    put = [
        Endpoint(
            "PUT",
            f"{namespace}/{kind.plural}/{{name}}",
            Role.OPERATOR,
            _put(kind.name),
            f"Apply one {kind.name}",
            query=_DRY_RUN,
            body=kind.name,
            answer="Applied",
            codes=(200, 201, 409, 422),
        )
        for kind in APPLIED.values()
    ]
    post = Endpoint(
        "POST",
        f"{namespace}/apply",
        Role.OPERATOR,
        _post,
        "Apply resources, all or nothing",
        query=_DRY_RUN,
        body="Apply",
        answer="AppliedList",
        codes=(200, 409, 422),
    )
    return [post, *put]


def _post(deps: ApiDeps, call: Call) -> Response:
    documents = call.json().get("resources")
    if not isinstance(documents, list):
        raise bad_request('the body must be {"resources": […]}')
    return answer({"kind": "AppliedList", "dryRun": call.dry_run, "items": _apply(deps, call, documents)})


def _put(kind: str) -> Handler:
    def put(deps: ApiDeps, call: Call) -> Response:
        document = call.json()
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if document.get("kind", kind) != kind or name != call.name:
            said = f"{shown(document.get('kind'))} {shown(name)}"
            raise bad_request(f"the path says {kind} {call.name!r}, the body {said}")
        (applied,) = _apply(deps, call, [document | {"kind": kind}])
        return answer(applied, 201 if applied["action"] == "created" and not call.dry_run else 200)

    return put


def _apply(deps: ApiDeps, call: Call, documents: Sequence[Any]) -> list[dict[str, Any]]:
    if len(documents) > MAX_RESOURCES:
        raise bad_request(f"a request holds at most {MAX_RESOURCES} resources; apply the rest in another one")
    wanted = read_resources(documents, call.namespace)
    if not call.dry_run:
        # A dry run may speak of code that nobody has sent yet.
        check_bundles(deps.objects, wanted)
    with deps.pool.connection() as connection, connection.transaction() as transaction:
        before = deps.clock.now(connection)
        check_apply(connection, call.principal, wanted)
        applied, keys = upsert(connection, wanted, deps.ids, before)
        items = _views(deps, connection, applied)
        if call.dry_run:
            raise psycopg.Rollback(transaction)
        call.audit.tell(audited(applied))
    if not call.dry_run:
        deps.wake(keys)
    return items


def audited(applied: Sequence[Applied]) -> list[Entry]:
    """Return the audit log's rows of what changed."""
    verbs = {"created": "create", "configured": "update"}
    return [
        Entry(verbs[a.action], a.ref.kind, a.ref.namespace, a.ref.name, shown_changes(a.changes))
        for a in applied
        if a.action != "unchanged"
    ]


def read_resources(documents: Sequence[Any], namespace: str) -> list[Resource]:
    """Return the resources; raise RefusedError with every problem of every document."""
    found: list[Resource] = []
    problems: list[dict[str, Any]] = []
    for n, document in enumerate(documents):
        parsed = parse(_placed(document, namespace))
        if parsed.resource is None:
            kind, name = _called(document)
            problems += [
                {
                    "resource": n,
                    "kind": kind,
                    "name": name,
                    "field": finding.field,
                    "message": finding.message,
                    **({"suggestion": finding.suggestion} if finding.suggestion else {}),
                }
                for finding in parsed.findings
            ]
        elif parsed.resource.metadata.namespace != namespace:
            text = f"is not {namespace!r}, the namespace that this request is about"
            problems.append(problem(n, parsed.resource, "metadata.namespace", text))
        else:
            found.append(parsed.resource)
    if problems:
        raise invalid(f"{len(problems)} problems; nothing was changed", problems[:MAX_FINDINGS])
    return found


def _placed(document: Any, namespace: str) -> Any:
    """Return a document in the namespace of the path, unless it names one itself."""
    if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
        return document
    return document | {"metadata": {"namespace": namespace} | document["metadata"]}


def _called(document: Any) -> tuple[str, str]:
    if not isinstance(document, dict):
        return "", ""
    metadata = document.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    # A refusal does not repeat megabytes.
    return str(document.get("kind", ""))[:_SHOWN], str(name)[:_SHOWN]


def check_bundles(objects: ObjectStore, wanted: Sequence[Resource]) -> None:
    """Raise RefusedError for Dags whose code is not stored."""
    problems = []
    for n, resource in enumerate(wanted):
        digest = resource.spec.bundle if isinstance(resource, Dag) else None
        if digest is None:
            continue
        try:
            obstore.head(objects, bundle_key(digest))
        except (NotFoundError, FileNotFoundError):
            text = f"bundle {digest} is not stored; PUT /v1/bundles/{digest} first"
            problems.append(problem(n, resource, "spec.bundle", text))
        except OSError as error:
            raise RefusedError(503, "ServiceUnavailable", f"the object store does not answer: {error}") from error
    if problems:
        raise invalid(f"{len(problems)} bundles are missing; nothing was changed", problems)


def _views(deps: ApiDeps, connection: psycopg.Connection, applied: Sequence[Applied]) -> list[dict[str, Any]]:
    """Return what became of each resource, and for a Dag what hangs on it: unfinished runs and the next tick."""
    stored = resources.lock(connection, [a.ref for a in applied])
    dags: list[Stored] = [s for s in stored.values() if s.kind == "Dag"]
    seen = observed_dags(connection, dags, deps.clock.now(connection))
    items = []
    for a in applied:
        item: dict[str, Any] = {
            "kind": a.ref.kind,
            "name": a.ref.name,
            "action": a.action,
            "generation": a.generation,
            "resourceVersion": str(stored[a.ref].resource_version),
            "changes": [{"path": c.path, "from": c.old, "to": c.new} for c in a.changes],
        }
        if a.uid in seen:
            dag = seen[a.uid]
            item |= {
                "revision": a.generation,
                "activeRuns": dag.active_runs + dag.pending_runs,
                "nextTick": utc(dag.next_tick),
            }
        items.append(item)
    return items
