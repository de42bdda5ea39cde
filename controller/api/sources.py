"""What Lambda brings from outside, POST /v1/events: ticks, ECS state changes, webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from controller.api.body import read_body, read_json
from controller.api.endpoint import caller_of
from controller.api.errors import RefusedError, bad_request, status_answer
from controller.api.run_creation import Wanted, create_run
from controller.runtime.keys import Key, Kind
from controller.store import audit, dags, resources, workers
from controller.store.audit import Actor, Entry
from crds.dag import DagSpec

if TYPE_CHECKING:
    import psycopg
    from starlette.requests import Request

    from controller.api.endpoint import ApiDeps
    from controller.api.tokens import SharedTokens
    from controller.observed import Stored
    from crds.dag import Webhook

BODY_LIMIT = 2**20
TEXT_LIMIT = 512
KEY_LIMIT = 200
LISTENERS_LIMIT = 20
"""The most DAGs that one webhook may start."""
SOURCES = "sources"
"""The one name under which the token of event sources is known."""

_EVENTBRIDGE = {"Scheduled Event": "cron", "ECS Task State Change": "ecs"}
"""What EventBridge's own events are, if it posts them itself."""


class EventSources:
    """Takes events; a tick or a state change only says what to look at, a webhook is durable before it is answered."""

    def __init__(self, deps: ApiDeps, tokens: SharedTokens) -> None:
        self._deps = deps
        self._tokens = tokens

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/v1/events", self._event, methods=["POST"])]

    async def _event(self, request: Request) -> Response:
        try:
            await run_in_threadpool(self._authenticate, request)
            event = read_json(await read_body(request, BODY_LIMIT))
            return await run_in_threadpool(self._take, event)
        except Exception as error:  # noqa: BLE001 - every failure has an answer, and an unforeseen one is logged there
            return status_answer(error)

    def _authenticate(self, request: Request) -> None:
        if not self._tokens.accepts(SOURCES, _bearer(request)):
            raise RefusedError(401, "Unauthorized", "the token is not that of the event sources")

    def _take(self, event: dict[str, Any]) -> Response:
        match event.get("type") or _EVENTBRIDGE.get(str(event.get("detail-type"))):
            case "cron":
                self._ticked(event)
            case "ecs":
                self._stopped(event)
            case "webhook":
                return _json({"runs": self._hooked(event)})
            case other:
                raise bad_request(f"type is cron, ecs or webhook, not {str(other)[:50]!r}")
        return Response(b"{}", status_code=202, media_type="application/json")

    def _ticked(self, event: dict[str, Any]) -> None:
        """Look at the DAG that a rule names, or at every schedule; whether a tick is due is read from Postgres alone."""
        with self._deps.pool.connection() as connection:
            if "dag" not in event:
                due = {str(uid) for uid in dags.active(connection)}
            else:
                named = resources.find(
                    connection, resources.Ref("Dag", _text(event, "namespace", "default"), _text(event, "dag"))
                )
                due = {named.uid} if named else set()
        self._deps.wake({Key(Kind.DAG, uid) for uid in due})

    def _stopped(self, event: dict[str, Any]) -> None:
        """Look at the pool of a task that ECS says has stopped."""
        detail = event.get("detail")
        if not isinstance(detail, dict) or detail.get("lastStatus") != "STOPPED":
            return
        with self._deps.pool.connection() as connection:
            pools = workers.pools_of_ecs_tasks(connection, [_text(detail, "taskArn")])
        self._deps.wake({Key(Kind.POOL, pool) for pool in pools})

    def _hooked(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """Create a run of each DAG that listens; the same key finds the runs of its first time."""
        path, key, body = _text(event, "path"), _text(event, "key", limit=KEY_LIMIT), event.get("body")
        deps = self._deps
        with deps.pool.connection() as connection, connection.transaction():
            now = deps.clock.now(connection)
            listeners = _listeners(connection, path)
            if not listeners:
                raise RefusedError(404, "NotFound", f"no DAG listens to the webhook {path!r}")
            made = []
            for dag, name, webhook in listeners:
                params = {webhook.param: body} if webhook.param else body
                if not isinstance(params, dict):
                    raise bad_request("the body must be an object of parameters; or name one in the webhook's param")
                wanted = Wanted(
                    deps.ids.uid(now),
                    f"webhook {path}",
                    f"webhook/{name}/{key}",
                    "webhook",
                    params,
                    traceparent=caller_of(event),
                )
                run, created = create_run(connection, dag, wanted, now)
                if created:
                    done = Entry("trigger", "Dag", dag.namespace, dag.name, message=f"run {run}")
                    audit.record(connection, Actor(wanted.by, "-", "webhook", "-", ""), [done], "done")
                made.append({"name": run, "namespace": dag.namespace, "created": created})
        deps.wake({Key(Kind.DAG, dag.uid) for dag, _, _ in listeners})
        return made


def _listeners(connection: psycopg.Connection, path: str) -> list[tuple[Stored, str, Webhook]]:
    """Lock and return the Dags with a trigger for a path, with the trigger's name."""
    found = resources.lock(connection, resources.listening(connection, path, LISTENERS_LIMIT))
    return [
        (dag, trigger.name, trigger.webhook)
        for dag in found.values()
        if not dag.terminating
        for trigger in DagSpec.model_validate(dag.spec, extra="ignore").triggers
        if trigger.webhook.path == path
    ]


def _text(event: dict[str, Any], name: str, default: str | None = None, limit: int = TEXT_LIMIT) -> str:
    value = event.get(name, default)
    if not isinstance(value, str) or not 1 <= len(value) <= limit:
        raise bad_request(f"{name} is a text of 1 to {limit} characters")
    return value


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
