"""The graph of a DAG's tasks: cycles, and what lies upstream of what."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

MAX_CYCLES = 20

Needs = Mapping[str, Sequence[str]]


def topological(needs: Needs) -> list[str]:
    """Return the tasks so that each comes after all that it needs; tasks on or behind a cycle are left out.

    Kahn, "Topological sorting of large networks" (1962). Names that are no key of `needs` are ignored.
    """
    downstream: dict[str, list[str]] = {task: [] for task in needs}
    missing = dict.fromkeys(needs, 0)
    for task, upstream in needs.items():
        for need in upstream:
            if need in downstream:
                downstream[need].append(task)
                missing[task] += 1
    ready = deque(task for task, count in missing.items() if not count)
    order: list[str] = []
    while ready:
        task = ready.popleft()
        order.append(task)
        for after in downstream[task]:
            missing[after] -= 1
            if not missing[after]:
                ready.append(after)
    return order


def cycles(needs: Needs) -> Iterator[tuple[str, ...]]:
    """Return up to MAX_CYCLES cycles that share no task, each from a task to itself: `a, b, a`."""
    rest: dict[str, Sequence[str]] = dict(needs)
    for _ in range(MAX_CYCLES):
        for task in topological(rest):
            del rest[task]
        if not rest:
            return
        cycle = _walk(rest)
        yield cycle
        for task in cycle[:-1]:
            del rest[task]


def ancestors(needs: Needs) -> dict[str, int]:
    """Return for each task the set of tasks upstream of it, as bits at the positions of `needs`.

    Integers as sets keep 10,000 tasks in a chain cheap. Tasks on or behind a cycle are left out.
    """
    bits = {task: 1 << position for position, task in enumerate(needs)}
    upstream: dict[str, int] = {}
    for task in topological(needs):
        found = 0
        for need in needs[task]:
            found |= upstream.get(need, 0) | bits.get(need, 0)
        upstream[task] = found
    return upstream


def _walk(rest: Needs) -> tuple[str, ...]:
    """Follow the first need until a task comes again; all tasks left have a need that is left."""
    seen: dict[str, int] = {}
    task = next(iter(rest))
    while task not in seen:
        seen[task] = len(seen)
        task = next(need for need in rest[task] if need in rest)
    return (*list(seen)[seen[task] :], task)
