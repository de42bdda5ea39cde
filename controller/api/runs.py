"""What people ask of runs in progress: cancel, pause, resume."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg

from controller.actions import Event
from controller.api import objects
from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, Handler, answer
from controller.errors import Conflict, NotFound
from controller.observed import ObservedRun
from controller.runtime.keys import Key, Kind
from controller.store import events, reopening, task_runs, views
from controller.store import runs as run_rows
from crds.phases import FINAL_RUN, RunPhase
from crds.reasons import Reason

if TYPE_CHECKING:
    from starlette.responses import Response

Act = Callable[[ApiDeps, psycopg.Connection, ObservedRun, Call, datetime], Iterable[Key]]


def endpoints(namespace: str) -> list[Endpoint]:
    """Return the endpoints that act on runs in progress."""
    run = f"{namespace}/dagruns/{{name}}"

    def on_run(verb: str, act: Act, text: str, body: str | None = None) -> Endpoint:
        return Endpoint(
            "POST", f"{run}/{verb}", Role.OPERATOR, on_locked_run(act), text, (), body, "DagRun", (200, 404, 409, 422)
        )

    return [
        on_run("cancel", _cancel, "Cancel a run"),
        on_run("pause", _pause, "Suspend a run: what is active goes on, nothing new starts"),
        on_run("resume", _resume, "Resume a run"),
    ]


def on_locked_run(act: Act) -> Handler:
    """Return the handler that locks a run, acts on it, and wakes whom it concerns after COMMIT."""

    def handle(deps: ApiDeps, call: Call) -> Response:
        with deps.pool.connection() as connection, connection.transaction():
            now = deps.clock.now(connection)
            seen = locked(connection, call.namespace, call.name)
            keys = list(act(deps, connection, seen, call, now))
            after = current(connection, call.namespace, call.name)
        deps.wake([Key(Kind.RUN, seen.uid), Key(Kind.DAG, seen.dag_uid), *keys])
        return answer(objects.run(after))

    return handle


def _cancel(
    _deps: ApiDeps, connection: psycopg.Connection, seen: ObservedRun, call: Call, now: datetime
) -> Iterable[Key]:
    if seen.phase in FINAL_RUN and seen.phase is not RunPhase.CANCELLED:
        raise Conflict(f"run {seen.name!r} has ended already: it is {seen.phase}")
    if run_rows.cancel(connection, [seen.uid], Reason.CANCELLED, now):
        tell(connection, seen, Reason.CANCEL_REQUESTED, f"asked to cancel by {call.principal.name}", now)
    return ()


def _pause(
    _deps: ApiDeps, connection: psycopg.Connection, seen: ObservedRun, call: Call, now: datetime
) -> Iterable[Key]:
    return _set_suspend(connection, seen, call, now, suspended=True)


def _resume(
    _deps: ApiDeps, connection: psycopg.Connection, seen: ObservedRun, call: Call, now: datetime
) -> Iterable[Key]:
    return _set_suspend(connection, seen, call, now, suspended=False)


def _set_suspend(
    connection: psycopg.Connection, seen: ObservedRun, call: Call, now: datetime, *, suspended: bool
) -> Iterable[Key]:
    if seen.phase in FINAL_RUN:
        raise Conflict(f"run {seen.name!r} has ended already: it is {seen.phase}")
    if not reopening.suspend(connection, seen.uid, suspended=suspended):
        return ()
    pools = task_runs.hold(connection, [seen.uid], suspended=suspended).get()
    reason, verb = (Reason.SUSPENDED, "paused") if suspended else (Reason.RESUMED, "resumed")
    tell(connection, seen, reason, f"{verb} by {call.principal.name}", now)
    return [Key(kind, uid) for uid in pools for kind in (Kind.SLOTS, Kind.POOL)]


def locked(connection: psycopg.Connection, namespace: str, name: str) -> ObservedRun:
    """Lock a run and return how it stands; raise NotFound."""
    if reopening.lock(connection, namespace, name) is None:
        raise NotFound(f"there is no DagRun {name!r} in namespace {namespace!r}")
    return current(connection, namespace, name)


def current(connection: psycopg.Connection, namespace: str, name: str) -> ObservedRun:
    """Return how a run stands; raise NotFound."""
    seen = views.run(connection, namespace, name)
    if seen is None:
        raise NotFound(f"there is no DagRun {name!r} in namespace {namespace!r}")
    return seen


def tell(connection: psycopg.Connection, seen: ObservedRun, reason: Reason, text: str, now: datetime) -> None:
    """Record an event of a run."""
    events.record(connection, [Event("Normal", seen.namespace, "DagRun", seen.name, reason, text, seen.uid)], now)
