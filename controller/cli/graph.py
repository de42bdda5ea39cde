"""A DAG drawn as text: a tree in which each task stands below the last of those that it needs, or Mermaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Needs = Mapping[str, Sequence[str]]


def tree(needs: Needs, notes: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines of the drawing; further upstream tasks are named behind a task."""
    depth = _depths(needs)
    below: dict[str | None, list[str]] = {}
    for task, upstream in needs.items():
        parent = max(upstream, key=lambda name: depth[name], default=None)
        below.setdefault(parent, []).append(task)

    lines: list[str] = []
    # (task, what stands before it, before those below it); a stack, because a chain may be thousands long.
    stack = [(root, "", "") for root in reversed(below.get(None, []))]
    while stack:
        task, lead, indent = stack.pop()
        lines.append(f"{lead}{task}{_behind(task, needs, depth, notes or {})}")
        children = below.get(task, [])
        for n, child in reversed(list(enumerate(children))):
            last = n == len(children) - 1
            stack.append((child, indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  ")))
    return lines


def mermaid(needs: Needs, notes: Mapping[str, str] | None = None) -> list[str]:
    """Return the DAG as a Mermaid flowchart."""
    ids = {task: f"t{n}" for n, task in enumerate(needs)}
    lines = ["graph LR"]
    for task, key in ids.items():
        note = (notes or {}).get(task)
        lines.append(f'    {key}["{task}{f"<br/>{note}" if note else ""}"]')
    lines += [f"    {ids[above]} --> {ids[task]}" for task, upstream in needs.items() for above in upstream]
    return lines


def order(needs: Needs) -> list[str]:
    """Return the tasks, each behind all that it needs."""
    depth = _depths(needs)
    return sorted(needs, key=lambda task: depth[task])


def _depths(needs: Needs) -> dict[str, int]:
    """Return how long the longest way to each task is; without recursion, for long chains."""
    depth: dict[str, int] = {}
    for root in needs:
        stack = [root]
        while stack:
            task = stack[-1]
            missing = [name for name in needs.get(task, ()) if name not in depth]
            if missing and len(stack) <= len(needs):
                stack += missing
                continue
            depth[task] = max((depth.get(name, 0) + 1 for name in needs.get(task, ())), default=0)
            stack.pop()
    return depth


def _behind(task: str, needs: Needs, depth: Mapping[str, int], notes: Mapping[str, str]) -> str:
    upstream = list(needs[task])
    note = f"  ({notes[task]})" if notes.get(task) else ""
    if len(upstream) < 2:
        return note
    parent = max(upstream, key=lambda name: depth[name])
    return f"{note}  + {', '.join(name for name in upstream if name != parent)}"
