"""What people ask of DAGs: trigger a run, pause, resume."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from controller.actions import Event
from controller.api import objects
from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, Handler, answer
from controller.api.errors import bad_request
from controller.api.reads import observed_dags
from controller.api.run_creation import Wanted, create_run
from controller.api.upsert import PAUSED
from controller.errors import Conflict, NotFound
from controller.runtime.keys import Key, Kind
from controller.store import dag_history, events, resources, views
from controller.store.audit import Entry
from controller.store.resources import Ref
from crds.finding import shown
from crds.reasons import Reason

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg
    from starlette.responses import Response

    from controller.observed import Stored

KEY_LIMIT = 200
LABELS_LIMIT = 64

_LABEL = re.compile(r"[\w./-]{0,63}")


def endpoints(namespace: str) -> list[Endpoint]:
    """Return the endpoints that act on DAGs."""
    dag = f"{namespace}/dags/{{name}}"
    return [
        Endpoint(
            "POST",
            f"{dag}/trigger",
            Role.OPERATOR,
            _trigger,
            "Create a run; the same idempotencyKey gives the same run",
            body="Trigger",
            answer="DagRun",
            codes=(200, 201, 404, 409, 422),
        ),
        Endpoint(
            "POST",
            f"{dag}/pause",
            Role.OPERATOR,
            _on_dag(suspend=True),
            "Suspend a Dag",
            answer="Dag",
            codes=(200, 404, 409),
        ),
        Endpoint(
            "POST",
            f"{dag}/resume",
            Role.OPERATOR,
            _on_dag(suspend=False),
            "Resume a Dag",
            answer="Dag",
            codes=(200, 404, 409),
        ),
    ]


def _trigger(deps: ApiDeps, call: Call) -> Response:
    body = call.json()
    given, labels, key = body.get("params", {}), body.get("labels", {}), body.get("idempotencyKey")
    unknown = sorted(set(body) - {"params", "labels", "idempotencyKey"})
    if unknown:
        raise bad_request(f"unknown field {shown(unknown[0])}; a trigger has params, labels and idempotencyKey")
    _check_trigger(given, labels, key)
    with deps.pool.connection() as connection, connection.transaction():
        now = deps.clock.now(connection)
        dag = _lock_dag(connection, call)
        uid = deps.ids.uid(now)
        wanted = Wanted(uid, call.principal.name, f"trigger/{key or uid}", "manual", given, labels, call.traceparent)
        name, created = create_run(connection, dag, wanted, now)
        call.audit.tell([Entry("trigger", "Dag", dag.namespace, dag.name, message=f"run {name}")])
        seen = views.run(connection, dag.namespace, name)
    if seen is None:
        raise NotFound(f"run {name!r} is gone again")
    deps.wake([Key(Kind.DAG, dag.uid)])
    return answer(objects.run(seen), 201 if created else 200)


def _check_trigger(params: Any, labels: Any, key: Any) -> None:
    if not isinstance(params, dict):
        raise bad_request("params must be a JSON object")
    if not isinstance(labels, dict) or len(labels) > LABELS_LIMIT:
        raise bad_request(f"labels must be an object of at most {LABELS_LIMIT} texts")
    if not all(isinstance(v, str) and _LABEL.fullmatch(v) and _LABEL.fullmatch(k) for k, v in labels.items()):
        raise bad_request("a label and its value hold at most 63 letters, digits and ./_-")
    if key is not None and (not isinstance(key, str) or not 1 <= len(key) <= KEY_LIMIT):
        raise bad_request(f"idempotencyKey is a text of 1 to {KEY_LIMIT} characters")


def _on_dag(*, suspend: bool) -> Handler:
    """Return the handler that changes a Dag's spec.suspend: a spec change like any other."""

    def handle(deps: ApiDeps, call: Call) -> Response:
        with deps.pool.connection() as connection, connection.transaction():
            resources.take_turns(connection)
            now = deps.clock.now(connection)
            dag = _lock_dag(connection, call)
            if bool(dag.spec.get("suspend")) != suspend:
                _write_suspend(connection, dag, call.principal.name, now, suspend=suspend)
            stored = _lock_dag(connection, call)
            seen = observed_dags(connection, [stored], now)[stored.uid]
        deps.wake([Key(Kind.DAG, dag.uid)])
        return answer(objects.dag(stored, seen))

    return handle


def _write_suspend(connection: psycopg.Connection, dag: Stored, who: str, now: datetime, *, suspend: bool) -> None:
    spec = dict(dag.spec) | {"suspend": suspend}
    annotations = {key: value for key, value in dag.annotations.items() if key != PAUSED}
    if suspend:
        annotations[PAUSED] = "true"
    generation = dag.generation + 1
    resources.update(connection, dag, dag.labels, annotations, spec, generation)
    dag_history.record(connection, dag.uid, generation, spec, now)
    reason, verb = (Reason.SUSPENDED, "paused") if suspend else (Reason.RESUMED, "resumed")
    text = f"{verb} by {who}, generation {generation}"
    events.record(connection, [Event("Normal", dag.namespace, "Dag", dag.name, reason, text)], now)


def _lock_dag(connection: psycopg.Connection, call: Call) -> Stored:
    ref = Ref("Dag", call.namespace, call.name)
    dag = resources.lock(connection, [ref]).get(ref)
    if dag is None:
        raise NotFound(f"there is no Dag {call.name!r} in namespace {call.namespace!r}")
    if dag.terminating:
        raise Conflict(f"Dag {call.name!r} is being deleted")
    return dag
