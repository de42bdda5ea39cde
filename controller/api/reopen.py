"""What people ask of ended runs: retry what failed, rerun from a task, clear single tasks, delete."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from controller.api import objects
from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, Param, answer
from controller.api.errors import bad_request, invalid
from controller.api.runs import locked, on_locked_run, tell
from controller.diff.retry import Again, TaskItem, TaskRule, reopen
from controller.errors import Conflict, NotFound
from controller.observed import ObservedRun, parse_task_run_name
from controller.runtime.keys import Key, Kind
from controller.store import deletion, pools, reopening, views
from controller.store.revisions import Revision, RevisionId, Revisions
from controller.store.selection import Selection
from crds.dag import MAX_TASKS
from crds.finding import shown
from crds.phases import FINAL_RUN, RunPhase
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from starlette.responses import Response

_CODES = (200, 404, 409, 422)
_FIELDS = {Again.RETRY: "tasks", Again.RERUN: "from", Again.CLEAR: "tasks"}
"""Where a request names its tasks."""
_REQUESTED = {
    Again.RETRY: Reason.RETRY_REQUESTED,
    Again.RERUN: Reason.RERUN_REQUESTED,
    Again.CLEAR: Reason.CLEAR_REQUESTED,
}
_ABOUT_DELETE = "Delete an ended run with its tasks and events"
_DRY_RUN = (Param("dryRun", "All: change nothing.", {"enum": ["All"]}),)
# The most tasks that an event names.
_SHOWN = 10


class _Asked(NamedTuple):
    """How a run shall be opened again: all of its failures if no task is chosen."""

    how: Again
    chosen: set[TaskItem] | None
    by: str


def endpoints(namespace: str) -> list[Endpoint]:
    """Return the endpoints that open ended runs again, or delete them."""
    run, task = f"{namespace}/dagruns/{{name}}", f"{namespace}/taskruns/{{name}}"
    revisions = Revisions()

    def on_run(how: Again, text: str, body: str) -> Endpoint:
        handler = on_locked_run(partial(_reopen_run, revisions, how))
        return Endpoint("POST", f"{run}/{how}", Role.OPERATOR, handler, text, (), body, "DagRun", _CODES)

    def retry_task(deps: ApiDeps, call: Call) -> Response:
        return _retry_task(revisions, deps, call)

    about_task = "Open one failed task of an ended run again, and what lies below it"
    return [
        on_run(Again.RETRY, "Open an ended run again; by default all tasks that failed", "Retry"),
        on_run(Again.RERUN, "Open tasks of an ended run again, and all that lies below them", "Rerun"),
        on_run(Again.CLEAR, "Open single tasks of an ended run again, and nothing below them", "Clear"),
        Endpoint("POST", f"{task}/retry", Role.OPERATOR, retry_task, about_task, answer="TaskRun", codes=_CODES),
        Endpoint("DELETE", run, Role.ADMIN, _delete, _ABOUT_DELETE, _DRY_RUN, codes=(200, 404, 409)),
    ]


def _reopen_run(
    revisions: Revisions,
    how: Again,
    _deps: ApiDeps,
    connection: psycopg.Connection,
    seen: ObservedRun,
    call: Call,
    now: datetime,
) -> Iterable[Key]:
    asked = _Asked(how, _chosen(call, how), call.principal.name)
    return _reopen(connection, _revision(revisions, connection, seen), seen, asked, now)


def _retry_task(revisions: Revisions, deps: ApiDeps, call: Call) -> Response:
    parts = parse_task_run_name(call.name)
    if parts is None:
        raise NotFound(f"there is no TaskRun {call.name!r}; its name is <run>.<task>")
    run, task, index = parts
    asked = _Asked(Again.RETRY, {(task, index)}, call.principal.name)
    with deps.pool.connection() as connection, connection.transaction():
        now = deps.clock.now(connection)
        seen = locked(connection, call.namespace, run)
        keys = list(_reopen(connection, _revision(revisions, connection, seen), seen, asked, now))
        selection = Selection(call.namespace, run=run, task=task, limit=1)
        (after,) = views.tasks(connection, selection, index=index)
    deps.wake([Key(Kind.RUN, seen.uid), Key(Kind.DAG, seen.dag_uid), *keys])
    return answer(objects.task(after))


def _chosen(call: Call, how: Again) -> set[TaskItem] | None:
    field, body = _FIELDS[how], call.json()
    unknown = sorted(set(body) - {field})
    if unknown:
        raise bad_request(f"unknown field {shown(unknown[0])}; a {how} has {field}")
    tasks = body.get(field)
    if tasks is None and how is Again.RETRY:
        return None
    if (
        not isinstance(tasks, list)
        or not 0 < len(tasks) <= MAX_TASKS
        or not all(isinstance(task, str) for task in tasks)
    ):
        hint = "; leave it out to retry all that failed" if how is Again.RETRY else ""
        raise bad_request(f"{field} is a list of task names{hint}")
    chosen = set()
    for text in tasks:
        parts = parse_task_run_name(f"{call.name}.{text}")
        if parts is None:
            raise bad_request(f"{shown(text)} is no task; write its name, or name.index")
        chosen.add(parts[1:])
    return chosen


def _reopen(
    connection: psycopg.Connection, revision: Revision, seen: ObservedRun, asked: _Asked, now: datetime
) -> Iterable[Key]:
    _refuse(connection, seen, asked.how)
    rules = {name: TaskRule(tuple(task.needs), task.when) for name, task in revision.tasks.items()}
    decision = reopen(rules, reopening.phases(connection, seen.uid), asked.chosen, asked.how)
    if decision.problems:
        raise invalid("; ".join(decision.problems), [{"message": text} for text in decision.problems])
    used = reopening.reopen(connection, seen.uid, decision.phases, revision.spec.timeout, now)
    if len(pools.read(connection, sorted(used))) < len(used):
        raise Conflict("a pool that its tasks ran in is gone; trigger the DAG again")
    names = ", ".join(sorted({item[0] for item in decision.phases})[:_SHOWN])
    text = f"{len(decision.phases)} tasks opened again by {asked.by}: {names}"
    tell(connection, seen, _REQUESTED[asked.how], text, now)
    return [Key(kind, uid) for uid in used for kind in (Kind.SLOTS, Kind.POOL)]


def _refuse(connection: psycopg.Connection, seen: ObservedRun, how: Again) -> None:
    if seen.phase not in FINAL_RUN:
        raise Conflict(f"run {seen.name!r} is {seen.phase}; only an ended run is opened again, so wait or cancel it")
    if how is Again.RETRY and seen.phase is RunPhase.SUCCEEDED:
        raise Conflict(f"run {seen.name!r} is {seen.phase}, so there is nothing to retry; rerun it from a task instead")
    if seen.started_at is None:
        raise Conflict(f"run {seen.name!r} was cancelled before it started; trigger its DAG again")
    if deletion.terminating(connection, seen.dag_uid):
        raise Conflict(f"Dag {seen.dag!r} is being deleted, and its runs with it")


def _delete(deps: ApiDeps, call: Call) -> Response:
    with deps.pool.connection() as connection, connection.transaction() as transaction:
        seen = locked(connection, call.namespace, call.name)
        if seen.phase not in FINAL_RUN:
            raise Conflict(f"run {seen.name!r} is {seen.phase}; cancel it first")
        deletion.delete_runs(connection, [seen.uid])
        if call.dry_run:
            raise psycopg.Rollback(transaction)
    deps.wake([Key(Kind.DAG, seen.dag_uid)])
    return answer({"kind": "Status", "status": "Success", "details": {"kind": "DagRun", "name": seen.name}})


def _revision(revisions: Revisions, connection: psycopg.Connection, seen: ObservedRun) -> Revision:
    key = RevisionId(seen.dag_uid, seen.revision)
    return revisions.read(connection, [key])[key]
