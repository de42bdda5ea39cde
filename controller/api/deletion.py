"""Delete resources: at once, or marked and held by finalizers until what hangs on them is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from controller.actions import Event
from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, Param, answer
from controller.api.errors import bad_request
from controller.api.objects import utc
from controller.diff.deletion import OWN, RUNS, WORKERS
from controller.errors import Conflict, NotFound
from controller.runtime.keys import Key, Kind
from controller.store import deletion, events, resources
from controller.store.resources import Ref
from crds.finding import shown
from crds.kinds import APPLIED
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from starlette.responses import Response

    from controller.observed import Stored

FOREGROUND = "Foreground"
FINALIZERS_LIMIT = 20
NAME_LIMIT = 100

_KEYS = {"Dag": Kind.DAG, "WorkerPool": Kind.POOL}
"""Whom to wake for a kind."""
_QUERY = (
    Param(
        "propagationPolicy",
        "Foreground deletes a Dag with its runs, which are cancelled first; without it a Dag that has runs is refused.",
        {"enum": [FOREGROUND]},
    ),
    Param("resourceVersion", "Only if this is still the object's version."),
    Param("dryRun", "All: change nothing.", {"enum": ["All"]}),
)


def endpoints(namespace: str) -> Iterable[Endpoint]:
    """Return the endpoints that delete what people apply."""
    for kind in APPLIED.values():
        path = f"{namespace}/{kind.plural}/{{name}}"
        text = f"Delete a {kind.name} that nothing refers to; 202 if something has to end first"
        yield Endpoint("DELETE", path, Role.ADMIN, _deleting(kind.name), text, _QUERY, codes=(200, 202, 404, 409))
        text = f"Set what must happen before a {kind.name} is gone"
        yield Endpoint(
            "PUT", f"{path}/finalizers", Role.ADMIN, _holding(kind.name), text, (), "Finalizers", codes=(200, 404, 409)
        )


def _deleting(kind: str) -> Any:
    def handle(deps: ApiDeps, call: Call) -> Response:
        ref = Ref(kind, call.namespace, call.name)
        cascade = _cascades(call)
        with deps.pool.connection() as connection, connection.transaction() as transaction:
            resources.take_turns(connection)
            now = deps.clock.now(connection)
            stored = _lock(connection, ref)
            _check_version(call, stored)
            held = begin(connection, stored, call.principal.name, now, cascade=cascade)
            if call.dry_run:
                raise psycopg.Rollback(transaction)
        if held and not call.dry_run and kind in _KEYS:
            deps.wake([Key(_KEYS[kind], stored.uid)])
        return _status(ref, stored.deleted_at or now, held)

    return handle


def _holding(kind: str) -> Any:
    def handle(deps: ApiDeps, call: Call) -> Response:
        ref = Ref(kind, call.namespace, call.name)
        wanted = _finalizers(call)
        with deps.pool.connection() as connection, connection.transaction():
            stored = _lock(connection, ref)
            now = deps.clock.now(connection)
            held = tuple(dict.fromkeys([*wanted, *(f for f in stored.finalizers if f in OWN)]))
            added = sorted(set(held) - set(stored.finalizers))
            if stored.terminating and added:
                raise Conflict(f"{kind} {ref.name!r} is being deleted; {added[0]} comes too late")
            if stored.terminating and not held:
                _remove(connection, stored, now)
            else:
                deletion.hold(connection, stored.uid, held)
        if kind in _KEYS:
            deps.wake([Key(_KEYS[kind], stored.uid)])
        return _status(ref, stored.deleted_at, held)

    return handle


def _lock(connection: psycopg.Connection, ref: Ref) -> Stored:
    stored = resources.lock(connection, [ref]).get(ref)
    if stored is None:
        raise NotFound(f"there is no {ref.kind} {ref.name!r} in namespace {ref.namespace!r}")
    return stored


def _cascades(call: Call) -> bool:
    policy = call.query.get("propagationPolicy")
    if policy not in {None, FOREGROUND}:
        raise bad_request(f"propagationPolicy is {FOREGROUND} or absent, not {shown(policy)}")
    return policy == FOREGROUND


def _check_version(call: Call, stored: Stored) -> None:
    given = call.query.get("resourceVersion")
    if given is not None and given != str(stored.resource_version):
        at = f"is at resourceVersion {stored.resource_version}, not at {given}"
        raise Conflict(f"{stored.kind} {stored.name!r} {at}; read it again and repeat your change")


def begin(connection: psycopg.Connection, stored: Stored, who: str, now: datetime, *, cascade: bool) -> tuple[str, ...]:
    """Remove a locked resource, or mark it; return what holds it. Raise Conflict if something refers to it."""
    if stored.terminating:
        return stored.finalizers
    held = (*stored.finalizers, *_own_finalizers(connection, stored, cascade=cascade))
    _mark(connection, stored, held, who, now)
    return held


def _own_finalizers(connection: psycopg.Connection, stored: Stored, *, cascade: bool) -> list[str]:
    own: list[str] = []
    match stored.kind:
        case "Dag":
            own, reason = _of_dag(connection, stored, cascade=cascade)
        case "WorkerPool":
            own, reason = [WORKERS], _pool_refusal(connection, stored)
        case "Dataset":
            reason = _dataset_refusal(connection, stored)
        case _:
            reason = None
    if reason is not None:
        raise Conflict(f"{stored.kind} {stored.name!r} cannot be deleted: {reason}")
    return own


def _of_dag(connection: psycopg.Connection, stored: Stored, *, cascade: bool) -> tuple[list[str], str | None]:
    count = resources.run_count(connection, stored.uid)
    if count and not cascade:
        return [], f"it has {count} runs in its history; delete them with it (--cascade), or pause it instead"
    return ([RUNS] if count else []), None


def _pool_refusal(connection: psycopg.Connection, stored: Stored) -> str | None:
    dags = resources.dags_with_pool(connection, stored.namespace, stored.name)
    if dags:
        return f"tasks of {', '.join(dags)} run in it; give them another pool first"
    count = resources.unfinished_in_pool(connection, stored.uid)
    return f"{count} tasks in it are unfinished; wait or cancel their runs" if count else None


def _dataset_refusal(connection: psycopg.Connection, stored: Stored) -> str | None:
    dags = resources.dags_with_dataset(connection, stored.namespace, stored.name)
    return f"tasks of {', '.join(dags)} read or write it; change them first" if dags else None


def _mark(connection: psycopg.Connection, stored: Stored, held: Sequence[str], who: str, now: datetime) -> None:
    if not held:
        _remove(connection, stored, now)
        return
    deletion.mark(connection, stored.uid, held, now)
    text = f"{who} asked to delete it; it waits for {', '.join(held)}"
    event = Event("Normal", stored.namespace, stored.kind, stored.name, Reason.TERMINATING, text)
    events.record(connection, [event], now)


def _remove(connection: psycopg.Connection, stored: Stored, now: datetime) -> None:
    resources.delete(connection, stored.uid)
    event = Event("Normal", stored.namespace, stored.kind, stored.name, Reason.DELETED, f"{stored.kind} deleted")
    events.record(connection, [event], now)


def _finalizers(call: Call) -> list[str]:
    wanted = call.json().get("finalizers")
    if not isinstance(wanted, list) or len(wanted) > FINALIZERS_LIMIT or not all(isinstance(f, str) for f in wanted):
        raise bad_request(f"finalizers is a list of at most {FINALIZERS_LIMIT} names")
    for name in wanted:
        domain, _, rest = name.partition("/")
        if not domain or not rest or len(name) > NAME_LIMIT or not name.isprintable() or not name.isascii():
            raise bad_request(f"a finalizer is named domain/name, not {shown(name)}")
    return wanted


def _status(ref: Ref, deleted_at: datetime | None, held: Sequence[str]) -> Response:
    details = {"kind": ref.kind, "name": ref.name, "deletionTimestamp": utc(deleted_at), "finalizers": list(held)}
    body = {"kind": "Status", "status": "Success", "code": 202 if held else 200, "details": details}
    return answer(body, 202 if held and deleted_at else 200)
