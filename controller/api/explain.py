"""Why an object is as it is: its conditions, and one plain sentence for each task that is not done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.api import objects
from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, answer
from controller.api.reads import observed_dags
from controller.diff import explain
from controller.diff.explain import DagRoom, PoolRoom, Surroundings
from controller.errors import NotFound
from controller.observed import (
    ObservedDataset,
    ObservedNotifier,
    ObservedPool,
    ObservedRun,
    ObservedTask,
    Stored,
    parse_task_run_name,
)
from controller.store import notifications, resources, views
from controller.store.resources import Ref
from controller.store.revisions import RevisionId, Revisions
from controller.store.selection import Selection
from crds.dag import DagSpec
from crds.phases import FINAL_TASK
from crds.pool import WorkerPoolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg
    from starlette.responses import Response

    from controller.api.objects import Object

# The most tasks of a run that are read, and the most that are explained one by one.
TASKS_READ = 20_000
TASKS_SHOWN = 200


def endpoints(namespace: str) -> list[Endpoint]:
    """Return the endpoints that explain."""
    revisions = Revisions()

    def run(deps: ApiDeps, call: Call) -> Response:
        with deps.pool.connection() as connection:
            return answer(_run(deps, connection, revisions, call))

    def task(deps: ApiDeps, call: Call) -> Response:
        with deps.pool.connection() as connection:
            return answer(_task(deps, connection, revisions, call))

    handlers = {
        "dags": _dag,
        "workerpools": _pool,
        "dagruns": run,
        "taskruns": task,
        "datasets": _dataset,
        "notifiers": _notifier,
    }
    return [
        Endpoint(
            "GET",
            f"{namespace}/{plural}/{{name}}/explain",
            Role.VIEWER,
            handler,
            f"Say why an object of {plural} is as it is",
            answer="Explanation",
            codes=(200, 404),
        )
        for plural, handler in handlers.items()
    ]


def _run(deps: ApiDeps, connection: psycopg.Connection, revisions: Revisions, call: Call) -> Object:
    seen = _found_run(connection, call.namespace, call.name)
    tasks, around = _surroundings(deps, connection, revisions, seen)
    # Cancelled and skipped tasks follow from others; what failed itself is worth a line.
    shown = [t for t in tasks if t.phase not in FINAL_TASK or t.phase == "Failed"][:TASKS_SHOWN]
    lines = [_line(t, around) for t in shown]
    return _explanation(objects.run(seen), explain.run(seen, around.dag, around.now), lines)


def _task(deps: ApiDeps, connection: psycopg.Connection, revisions: Revisions, call: Call) -> Object:
    run, task, index = parse_task_run_name(call.name) or ("", "", 0)
    seen = _found_run(connection, call.namespace, run)
    tasks, around = _surroundings(deps, connection, revisions, seen)
    for found in tasks:
        if (found.task, found.index) == (task, index):
            return _explanation(objects.task(found), explain.task(found, around), [])
    raise NotFound(f"there is no TaskRun {call.name!r} in namespace {call.namespace!r}")


def _dag(deps: ApiDeps, call: Call) -> Response:
    with deps.pool.connection() as connection:
        now = deps.clock.now(connection)
        stored = _found(connection, Ref("Dag", call.namespace, call.name))
        seen = observed_dags(connection, [stored], now)[stored.uid]
    return answer(_explanation(objects.dag(stored, seen), explain.dag(stored, seen, now), []))


def _pool(deps: ApiDeps, call: Call) -> Response:
    with deps.pool.connection() as connection:
        now = deps.clock.now(connection)
        stored = _found(connection, Ref("WorkerPool", call.namespace, call.name))
        seen = views.pools(connection, [stored.uid], now).get(stored.uid, ObservedPool())
    sentence = explain.pool(stored, seen, _room(stored, seen))
    return answer(_explanation(objects.pool(stored, seen), sentence, []))


def _dataset(deps: ApiDeps, call: Call) -> Response:
    with deps.pool.connection() as connection:
        now = deps.clock.now(connection)
        stored = _found(connection, Ref("Dataset", call.namespace, call.name))
        seen = views.datasets(connection, [stored.uid]).get(stored.uid)
    sentence = explain.dataset(stored, seen or ObservedDataset(), now)
    return answer(_explanation(objects.dataset(stored, seen, now), sentence, []))


def _notifier(deps: ApiDeps, call: Call) -> Response:
    with deps.pool.connection() as connection:
        now = deps.clock.now(connection)
        stored = _found(connection, Ref("Notifier", call.namespace, call.name))
        seen = notifications.observed(connection, [stored.uid]).get(stored.uid, ObservedNotifier())
    return answer(_explanation(objects.notifier(stored, seen), explain.notifier(stored, seen, now), []))


def _surroundings(
    deps: ApiDeps, connection: psycopg.Connection, revisions: Revisions, seen: ObservedRun
) -> tuple[Sequence[ObservedTask], Surroundings]:
    """Return the tasks of a run in the order of their graph, and all that their sentences need."""
    now = deps.clock.now(connection)
    selection = Selection(seen.namespace, run=seen.name, limit=TASKS_READ)
    tasks = views.tasks(connection, selection, attempts=1)
    key = RevisionId(seen.dag_uid, seen.revision)
    revision = revisions.read(connection, [key])[key]
    order = {name: n for n, name in enumerate(revision.tasks)}
    by_name: dict[str, list[ObservedTask]] = {}
    for task in tasks:
        by_name.setdefault(task.task, []).append(task)
    around = Surroundings(
        now,
        _rooms(deps, connection, seen.namespace, {t.pool for t in tasks}),
        _dag_room(connection, seen),
        by_name,
        {name: revision.retries(name).limit + 1 for name in revision.tasks},
    )
    return sorted(tasks, key=lambda t: (order.get(t.task, 0), t.index)), around


def _rooms(deps: ApiDeps, connection: psycopg.Connection, namespace: str, names: set[str]) -> Mapping[str, PoolRoom]:
    found = [s for name in sorted(names) if (s := resources.find(connection, Ref("WorkerPool", namespace, name)))]
    seen = views.pools(connection, [s.uid for s in found], deps.clock.now(connection))
    return {s.name: _room(s, seen.get(s.uid, ObservedPool())) for s in found}


def _room(stored: Stored, seen: ObservedPool) -> PoolRoom:
    spec = WorkerPoolSpec.model_validate(stored.spec, extra="ignore")
    return PoolRoom(spec.limit, seen.live, seen.workers, seen.desired, spec.max_tasks, spec.suspend)


def _dag_room(connection: psycopg.Connection, seen: ObservedRun) -> DagRoom:
    stored = resources.find(connection, Ref("Dag", seen.namespace, seen.dag))
    if stored is None:
        return DagRoom()
    spec = DagSpec.model_validate(stored.spec, extra="ignore")
    observed = views.dags(connection, [stored.uid])[stored.uid]
    limits = spec.concurrency
    return DagRoom(
        views.live_attempts(connection, stored.uid),
        limits.max_active_tasks,
        observed.active_runs,
        limits.max_active_runs,
        spec.suspend,
    )


def _line(task: ObservedTask, around: Surroundings) -> dict[str, Any]:
    return {
        "name": task.name,
        "task": task.task,
        "index": task.index,
        "phase": task.phase,
        "message": explain.task(task, around),
    }


def _explanation(item: Object, message: str, tasks: Sequence[Mapping[str, Any]]) -> Object:
    return {
        "kind": "Explanation",
        "of": {"kind": item["kind"], "name": item["metadata"]["name"]},
        "phase": item["status"]["phase"],
        "message": message,
        "conditions": item["status"]["conditions"],
        "tasks": list(tasks),
    }


def _found_run(connection: psycopg.Connection, namespace: str, name: str) -> ObservedRun:
    seen = views.run(connection, namespace, name)
    if seen is None:
        raise NotFound(f"there is no DagRun {name!r} in namespace {namespace!r}")
    return seen


def _found(connection: psycopg.Connection, ref: Ref) -> Stored:
    stored = resources.find(connection, ref)
    if stored is None:
        raise NotFound(f"there is no {ref.kind} {ref.name!r} in namespace {ref.namespace!r}")
    return stored
