"""What people ask of runs: cancel, retry, pause, resume."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg

from controller.actions import Event
from controller.api import objects
from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, Handler, answer
from controller.api.errors import bad_request, invalid
from controller.diff.retry import TaskItem, TaskRule, reopen
from controller.errors import Conflict, NotFound
from controller.observed import ObservedRun, parse_task_run_name
from controller.runtime.keys import Key, Kind
from controller.store import events, reopening, task_runs, views
from controller.store import runs as run_rows
from controller.store.revisions import Revision, RevisionId, Revisions
from controller.store.selection import Selection
from crds.dag import MAX_TASKS
from crds.finding import shown
from crds.phases import FINAL_RUN, RunPhase
from crds.reasons import Reason

if TYPE_CHECKING:
    from starlette.responses import Response

Act = Callable[[ApiDeps, psycopg.Connection, ObservedRun, Call, datetime], Iterable[Key]]


def endpoints(namespace: str) -> list[Endpoint]:
    """Return the endpoints that act on runs and task runs."""
    run, task = f"{namespace}/dagruns/{{name}}", f"{namespace}/taskruns/{{name}}"
    revisions = Revisions()

    def on_run(verb: str, act: Act, text: str, body: str | None = None) -> Endpoint:
        return Endpoint(
            "POST", f"{run}/{verb}", Role.OPERATOR, _on_run(act), text, (), body, "DagRun", (200, 404, 409, 422)
        )

    def retry(
        _deps: ApiDeps, connection: psycopg.Connection, seen: ObservedRun, call: Call, now: datetime
    ) -> Iterable[Key]:
        chosen = _chosen(call)
        return _retry(connection, _revision(revisions, connection, seen), seen, chosen, now)

    def retry_task(deps: ApiDeps, call: Call) -> Response:
        return _retry_task(deps, call, revisions)

    return [
        on_run("cancel", _cancel, "Cancel a run"),
        on_run("pause", _pause, "Suspend a run: what is active goes on, nothing new starts"),
        on_run("resume", _resume, "Resume a run"),
        on_run("retry", retry, "Open an ended run again; by default all tasks that failed", "Retry"),
        Endpoint(
            "POST",
            f"{task}/retry",
            Role.OPERATOR,
            retry_task,
            "Open one task of an ended run again, and what lies below it",
            answer="TaskRun",
            codes=(200, 404, 409, 422),
        ),
    ]


def _on_run(act: Act) -> Handler:
    """Return the handler that locks a run, acts on it, and wakes whom it concerns after COMMIT."""

    def handle(deps: ApiDeps, call: Call) -> Response:
        with deps.pool.connection() as connection, connection.transaction():
            now = deps.clock.now(connection)
            seen = _locked(connection, call.namespace, call.name)
            keys = list(act(deps, connection, seen, call, now))
            after = _run(connection, call.namespace, call.name)
        deps.wake([Key(Kind.RUN, seen.uid), Key(Kind.DAG, seen.dag_uid), *keys])
        return answer(objects.run(after))

    return handle


def _cancel(
    _deps: ApiDeps, connection: psycopg.Connection, seen: ObservedRun, call: Call, now: datetime
) -> Iterable[Key]:
    if seen.phase in FINAL_RUN and seen.phase is not RunPhase.CANCELLED:
        raise Conflict(f"run {seen.name!r} has ended already: it is {seen.phase}")
    if run_rows.cancel(connection, [seen.uid], Reason.CANCELLED, now):
        _tell(connection, seen, Reason.CANCEL_REQUESTED, f"asked to cancel by {call.principal.name}", now)
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
    _tell(connection, seen, reason, f"{verb} by {call.principal.name}", now)
    return [Key(kind, uid) for uid in pools for kind in (Kind.SLOTS, Kind.POOL)]


def _chosen(call: Call) -> set[TaskItem] | None:
    tasks = call.json().get("tasks")
    if tasks is None:
        return None
    if (
        not isinstance(tasks, list)
        or not 0 < len(tasks) <= MAX_TASKS
        or not all(isinstance(task, str) for task in tasks)
    ):
        raise bad_request("tasks is a list of task names; leave it out to retry all that failed")
    chosen = set()
    for text in tasks:
        parts = parse_task_run_name(f"{call.name}.{text}")
        if parts is None:
            raise bad_request(f"{shown(text)} is no task; write its name, or name.index")
        chosen.add(parts[1:])
    return chosen


def _retry(
    connection: psycopg.Connection,
    revision: Revision,
    seen: ObservedRun,
    chosen: Collection[TaskItem] | None,
    now: datetime,
) -> Iterable[Key]:
    if seen.phase not in {RunPhase.FAILED, RunPhase.CANCELLED}:
        raise Conflict(f"run {seen.name!r} is {seen.phase}; only a failed or cancelled run can be retried")
    if seen.started_at is None:
        raise Conflict(f"run {seen.name!r} was cancelled before it started; trigger its DAG again")
    rules = {name: TaskRule(tuple(task.needs), task.when) for name, task in revision.tasks.items()}
    decision = reopen(rules, reopening.phases(connection, seen.uid), chosen)
    if decision.problems:
        raise invalid("; ".join(decision.problems), [{"message": text} for text in decision.problems])
    pools = reopening.reopen(connection, seen.uid, decision.phases, revision.spec.timeout, now)
    names = ", ".join(sorted({item[0] for item in decision.phases})[:10])
    _tell(connection, seen, Reason.RETRY_REQUESTED, f"{len(decision.phases)} tasks opened again: {names}", now)
    return [Key(kind, uid) for uid in pools for kind in (Kind.SLOTS, Kind.POOL)]


def _retry_task(deps: ApiDeps, call: Call, revisions: Revisions) -> Response:
    parts = parse_task_run_name(call.name)
    if parts is None:
        raise NotFound(f"there is no TaskRun {call.name!r}; its name is <run>.<task>")
    run, task, index = parts
    with deps.pool.connection() as connection, connection.transaction():
        now = deps.clock.now(connection)
        seen = _locked(connection, call.namespace, run)
        revision = _revision(revisions, connection, seen)
        keys = list(_retry(connection, revision, seen, {(task, index)}, now))
        selection = Selection(call.namespace, run=run, task=task, limit=1)
        (after,) = views.tasks(connection, selection, index=index)
    deps.wake([Key(Kind.RUN, seen.uid), Key(Kind.DAG, seen.dag_uid), *keys])
    return answer(objects.task(after))


def _revision(revisions: Revisions, connection: psycopg.Connection, seen: ObservedRun) -> Revision:
    key = RevisionId(seen.dag_uid, seen.revision)
    return revisions.read(connection, [key])[key]


def _locked(connection: psycopg.Connection, namespace: str, name: str) -> ObservedRun:
    if reopening.lock(connection, namespace, name) is None:
        raise NotFound(f"there is no DagRun {name!r} in namespace {namespace!r}")
    return _run(connection, namespace, name)


def _run(connection: psycopg.Connection, namespace: str, name: str) -> ObservedRun:
    seen = views.run(connection, namespace, name)
    if seen is None:
        raise NotFound(f"there is no DagRun {name!r} in namespace {namespace!r}")
    return seen


def _tell(connection: psycopg.Connection, seen: ObservedRun, reason: Reason, text: str, now: datetime) -> None:
    events.record(connection, [Event("Normal", seen.namespace, "DagRun", seen.name, reason, text, seen.uid)], now)
