"""Which tasks of an ended run are opened again by a retry, a rerun or a clear."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from controller.diff.rules import Upstream, judge
from crds.dag import When
from crds.graph import topological
from crds.phases import TaskPhase

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

RETRYABLE = frozenset({TaskPhase.FAILED, TaskPhase.CANCELLED})
_FAILED = frozenset({TaskPhase.FAILED, TaskPhase.UPSTREAM_FAILED, TaskPhase.CANCELLED})
_FINAL = frozenset({TaskPhase.SUCCEEDED, TaskPhase.SKIPPED}) | _FAILED
# The most names that a refusal lists.
_SHOWN = 10

TaskItem = tuple[str, int]
"""A task's name and the index of its item."""


class Again(StrEnum):
    """How tasks are opened again."""

    RETRY = "retry"
    """What failed or was cancelled, and below it what did not succeed."""
    RERUN = "rerun"
    """Whatever is chosen, and all that lies below it."""
    CLEAR = "clear"
    """Whatever is chosen, and nothing else."""


@dataclass(frozen=True, slots=True)
class TaskRule:
    """What a revision says of a task's start."""

    needs: tuple[str, ...] = ()
    when: When = When.ALL_SUCCESS


@dataclass(frozen=True, slots=True)
class Reopening:
    """The phases that reopened tasks take, or why a retry makes no sense."""

    phases: Mapping[TaskItem, TaskPhase]
    problems: tuple[str, ...] = ()


def reopen(
    rules: Mapping[str, TaskRule],
    phases: Mapping[TaskItem, TaskPhase],
    chosen: Collection[TaskItem] | None,
    how: Again = Again.RETRY,
) -> Reopening:
    """Return what is opened again; by default all that failed or were cancelled.

    A task below a reopened one is opened too as `how` says, unless something else keeps it from starting.
    So each waiting task has an unfinished upstream task whose end will have it looked at.
    """
    wanted = set(chosen) if chosen is not None else {item for item, phase in phases.items() if phase in RETRYABLE}
    problems = _unfit(phases, wanted, how)
    if problems:
        return Reopening({}, tuple(problems))

    items = _by_task(phases)
    now = dict(phases)
    opened: dict[TaskItem, TaskPhase] = {}
    touched: set[str] = set()
    for task in topological({task: rule.needs for task, rule in rules.items()}):
        below = any(upstream in touched for upstream in rules[task].needs)
        for item in items.get(task, ()):
            if item not in wanted and not (below and _follows(now[item], how)):
                continue
            phase = _reopened(rules[task], items, now)
            if phase is not None:
                opened[item] = now[item] = phase
                touched.add(task)
    return Reopening(opened, tuple(_blocked(rules, items, now, wanted - opened.keys(), explicit=chosen is not None)))


def _follows(phase: TaskPhase, how: Again) -> bool:
    """Tell whether a task below a reopened one is opened too."""
    match how:
        case Again.RETRY:
            return phase is not TaskPhase.SUCCEEDED
        case Again.RERUN:
            return True
        case Again.CLEAR:
            return False
        case _:
            assert_never(how)


def _unfit(phases: Mapping[TaskItem, TaskPhase], wanted: Collection[TaskItem], how: Again) -> list[str]:
    if not wanted:
        return ["no task failed or was cancelled, so there is nothing to retry"]
    problems = []
    for item in sorted(wanted):
        phase = phases.get(item)
        if phase is None:
            problems.append(f"the run has no task {_text(item)}")
        elif how is Again.RETRY and phase not in RETRYABLE:
            above = "; retry the task that failed above it"
            hint = above if phase is TaskPhase.UPSTREAM_FAILED else "; `rerun` opens it and all below it again"
            problems.append(f"task {_text(item)} is {phase}, not Failed or Cancelled{hint}")
    return problems[:_SHOWN]


def _reopened(
    rule: TaskRule, items: Mapping[str, Sequence[TaskItem]], now: Mapping[TaskItem, TaskPhase]
) -> TaskPhase | None:
    """Return the phase that a task takes again, or None if it stays as it is."""
    verdict = judge(rule.when, _upstream(rule, items, now))
    if verdict is None:
        return TaskPhase.WAITING
    return TaskPhase.READY if verdict.phase is TaskPhase.READY else None


def _blocked(
    rules: Mapping[str, TaskRule],
    items: Mapping[str, Sequence[TaskItem]],
    now: Mapping[TaskItem, TaskPhase],
    left: Collection[TaskItem],
    *,
    explicit: bool,
) -> list[str]:
    """Return why chosen tasks cannot start; if all were chosen, those just stay as they are."""
    if not explicit:
        return []
    problems = []
    for item in sorted(left)[:_SHOWN]:
        above = [i for need in rules[item[0]].needs for i in items.get(need, ()) if now[i] in _FAILED]
        names = ", ".join(f"{_text(i)} ({now[i]})" for i in above[:_SHOWN]) or "its rule"
        problems.append(f"task {_text(item)} cannot start because of {names}; open that again too")
    return problems


def _upstream(rule: TaskRule, items: Mapping[str, Sequence[TaskItem]], now: Mapping[TaskItem, TaskPhase]) -> Upstream:
    above = [now[item] for need in rule.needs for item in items.get(need, ())]
    return Upstream(
        unfinished=sum(phase not in _FINAL for phase in above),
        succeeded=above.count(TaskPhase.SUCCEEDED),
        failed=sum(phase in _FAILED for phase in above),
        skipped=above.count(TaskPhase.SKIPPED),
    )


def _by_task(phases: Mapping[TaskItem, TaskPhase]) -> dict[str, list[TaskItem]]:
    items: dict[str, list[TaskItem]] = {}
    for item in sorted(phases):
        items.setdefault(item[0], []).append(item)
    return items


def _text(item: TaskItem) -> str:
    return f"{item[0]}[{item[1]}]" if item[1] else item[0]
