"""What must fit together within one DAG: its graph, schedules, parameters and limits."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from crds.bounded_schema import MAX_STEPS, Budget
from crds.check_task import check_task
from crds.cron import CronError, check_cron, check_timezone, timezones
from crds.finding import FieldPath, Finding, nearest
from crds.graph import ancestors, cycles
from crds.params import check_defaults, check_params, check_schema, complete, declared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import timedelta

    from crds.dag import Dag, DagSpec, TaskDefaults
    from crds.surroundings import Surroundings

MAX_EDGES = 100_000
STEPS_OF_SCHEDULES = 10 * MAX_STEPS


def check_dag(dag: Dag, surroundings: Surroundings) -> Iterator[Finding]:
    """Find what is wrong with a DAG among the pools and datasets around it."""
    spec = dag.spec
    yield from _timeouts(spec)
    yield from _schedules(spec)
    yield from _triggers(spec)
    yield from _params(spec)
    yield from _graph(spec)
    for index, task in enumerate(spec.tasks):
        yield from check_task(task, ("spec", "tasks", index), dag, surroundings)


def _timeouts(spec: DagSpec) -> Iterator[Finding]:
    yield from _not_zero(("spec", "timeout"), spec.timeout)
    yield from _task_timeouts(("spec", "defaults"), spec.defaults)
    for index, task in enumerate(spec.tasks):
        path: FieldPath = ("spec", "tasks", index)
        yield from _not_zero((*path, "timeout"), task.timeout)
        yield from _not_zero((*path, "queueTimeout"), task.queue_timeout)


def _task_timeouts(path: FieldPath, defaults: TaskDefaults) -> Iterator[Finding]:
    yield from _not_zero((*path, "timeout"), defaults.timeout)
    yield from _not_zero((*path, "queueTimeout"), defaults.queue_timeout)


def _not_zero(path: FieldPath, span: timedelta | None) -> Iterator[Finding]:
    if span is not None and not span:
        yield Finding(path, "must be longer than 0s")


def _schedules(spec: DagSpec) -> Iterator[Finding]:
    names = Counter(schedule.name for schedule in spec.schedules)
    seen: set[str] = set()
    for index, schedule in enumerate(spec.schedules):
        path: FieldPath = ("spec", "schedules", index)
        if names[schedule.name] > 1 and schedule.name in seen:
            yield Finding((*path, "name"), f'there is another schedule "{schedule.name}"')
        seen.add(schedule.name)
        yield from _refused((*path, "cron"), check_cron, schedule.cron)
        for finding in _refused((*path, "timezone"), check_timezone, schedule.timezone):
            yield Finding(finding.path, finding.message, nearest(schedule.timezone, sorted(timezones())))


def _triggers(spec: DagSpec) -> Iterator[Finding]:
    names, paths = Counter(t.name for t in spec.triggers), Counter(t.webhook.path for t in spec.triggers)
    known = declared(spec.params)
    for index, trigger in enumerate(spec.triggers):
        path: FieldPath = ("spec", "triggers", index)
        if names[trigger.name] > 1:
            yield Finding((*path, "name"), f'there is another trigger "{trigger.name}"')
        if paths[trigger.webhook.path] > 1:
            yield Finding((*path, "webhook", "path"), f'another trigger listens to "{trigger.webhook.path}"')
        param = trigger.webhook.param
        if param is not None and param not in known:
            message = f'unknown parameter "{param}"; declare it in spec.params'
            yield Finding((*path, "webhook", "param"), message, nearest(param, known))


def _refused(path: FieldPath, checked: Callable[[str], None], text: str) -> Iterator[Finding]:
    try:
        checked(text)
    except CronError as error:
        yield Finding(path, str(error))


def _params(spec: DagSpec) -> Iterator[Finding]:
    broken = False
    for finding in check_schema(spec.params):
        broken = True
        yield Finding(("spec", "params", *finding.path), finding.message, finding.suggestion)
    if broken:
        return
    for finding in check_defaults(spec.params):
        yield Finding(("spec", "params", *finding.path), finding.message)
    budget = Budget(STEPS_OF_SCHEDULES)
    for index, schedule in enumerate(spec.schedules):
        for finding in check_params(spec.params, complete(spec.params, schedule.params), budget):
            if finding.path and finding.path[0] not in schedule.params:
                continue  # a default that does not fit was found above
            yield Finding(("spec", "schedules", index, "params", *finding.path), finding.message)


def _graph(spec: DagSpec) -> Iterator[Finding]:
    positions: dict[str, int] = {}
    for index, task in enumerate(spec.tasks):
        if task.name in positions:
            first = positions[task.name]
            message = f'duplicate task "{task.name}"; the first is spec.tasks[{first}]'
            yield Finding(("spec", "tasks", index, "name"), message)
        positions.setdefault(task.name, index)
    edges = sum(len(task.needs) for task in spec.tasks)
    if edges > MAX_EDGES:
        yield Finding(("spec", "tasks"), f"{edges} needs in all, at most {MAX_EDGES}; let a task between join many")
        return
    yield from _needs(spec, positions)
    needs = {task.name: task.needs for task in reversed(spec.tasks)}
    ordered = {name: needs[name] for name in positions}
    for cycle in cycles(ordered):
        start = _first(cycle, positions)
        yield Finding(("spec", "tasks", start, "needs"), f"tasks need each other: {' -> '.join(cycle)}")
    yield from _inputs(spec, ordered)


def _first(cycle: tuple[str, ...], positions: Mapping[str, int]) -> int:
    return positions[cycle[0]]


def _needs(spec: DagSpec, positions: Mapping[str, int]) -> Iterator[Finding]:
    for index, task in enumerate(spec.tasks):
        seen: set[str] = set()
        for place, need in enumerate(task.needs):
            path: FieldPath = ("spec", "tasks", index, "needs", place)
            if need not in positions:
                others = (name for name in positions if name != task.name)
                yield Finding(path, f'unknown task "{need}"', nearest(need, others))
            elif need in seen:
                yield Finding(path, f'"{need}" stands twice')
            seen.add(need)


def _inputs(spec: DagSpec, needs: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    upstream = ancestors(needs)
    bits = {name: 1 << position for position, name in enumerate(needs)}
    for index, task in enumerate(spec.tasks):
        for alias, source in task.inputs.items():
            path: FieldPath = ("spec", "tasks", index, "inputs", alias, "task")
            if source.task is None:
                continue
            if source.task not in bits:
                yield Finding(path, f'unknown task "{source.task}"', nearest(source.task, bits))
            elif task.name in upstream and not upstream[task.name] & bits[source.task]:
                yield Finding(path, f'"{source.task}" is not upstream of "{task.name}"; add it to needs')
