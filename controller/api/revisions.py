"""The revisions of a DAG: what changed from one to the next, and who still runs on it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, Param, answer
from controller.api.objects import utc
from controller.diff.changes import changes
from controller.errors import NotFound
from controller.store import dag_history, resources
from controller.store.resources import Ref

if TYPE_CHECKING:
    from starlette.responses import Response

REVISIONS_DEFAULT = 10
REVISIONS_LIMIT = 100

_QUERY = (Param("limit", "At most so many.", {"type": "integer", "maximum": REVISIONS_LIMIT}),)


def endpoints(namespace: str) -> list[Endpoint]:
    """Return the endpoint for revisions."""
    path = f"{namespace}/dags/{{name}}/revisions"
    return [
        Endpoint(
            "GET",
            path,
            Role.VIEWER,
            _revisions,
            "List a Dag's revisions, newest first",
            _QUERY,
            answer="RevisionList",
            codes=(200, 404),
        )
    ]


def _revisions(deps: ApiDeps, call: Call) -> Response:
    limit = call.number("limit", REVISIONS_DEFAULT, REVISIONS_LIMIT)
    with deps.pool.connection() as connection:
        stored = resources.find(connection, Ref("Dag", call.namespace, call.name))
        if stored is None:
            raise NotFound(f"there is no Dag {call.name!r} in namespace {call.namespace!r}")
        # One more than asked for, to tell what the oldest shown one changed.
        found = dag_history.latest(connection, stored.uid, limit + 1)
    items = [
        {
            "generation": revision.generation,
            "createdAt": utc(revision.created_at),
            "activeRuns": revision.active_runs,
            "changes": [
                {"path": c.path, "from": c.old, "to": c.new}
                for c in (changes(before.spec, revision.spec, "spec") if before else ())
            ],
        }
        for revision, before in pairwise([*found, None])
        if revision is not None
    ]
    return answer({"kind": "RevisionList", "items": items[:limit]})
