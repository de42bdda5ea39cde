"""The readable part of a DAG that has errors, so that what else is wrong with it is found at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crds.dag import Dag
from crds.meta import DEFAULT_NAMESPACE
from crds.parse import validate
from crds.surroundings import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crds.finding import FieldPath, Finding

_TASKS = ("spec", "tasks")
_TASK_FIELD = 3
# A task that lacks one of these is no task, or would be blamed for what follows: another stands in for it,
# which keeps only its name and needs.
_ESSENTIAL = frozenset({"name", "runtime", "with", "secrets"})
_KEPT = ("name", "needs")
_STAND_IN = {"runtime": "python", "with": {"entrypoint": "unread:unread"}}
_UNREAD = "unread"

# The fields of one task that are broken.
_Broken = set[str]


@dataclass(frozen=True, slots=True)
class Salvage:
    """A DAG without its broken fields, and which they were, by the index of the task."""

    dag: Dag
    broken: Mapping[int, _Broken]

    def concerns_author(self, finding: Finding) -> bool:
        """Tell whether a finding is about what the author wrote, not a consequence of what is left out."""
        path = finding.path
        if path[:1] == ("metadata",):
            return False
        if path[:2] != _TASKS or len(path) <= _TASK_FIELD:
            return True
        index, name = path[2], path[_TASK_FIELD]
        broken = self.broken.get(index, set()) if isinstance(index, int) else set()
        if name in broken or (broken & _ESSENTIAL and name not in _KEPT):
            return False
        # Without all needs it cannot be told what lies upstream.
        unknown_needs = any("needs" in fields for fields in self.broken.values())
        return not (unknown_needs and name == "inputs" and path[-1] == "task")


def salvage(document: Mapping[str, Any], findings: Iterable[Finding]) -> Salvage | None:
    """Return a Dag document without what the findings name, or None if nothing sensible is left."""
    given = document.get("spec")
    tasks = given.get("tasks") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(tasks, list):
        return None
    spec = dict(given)
    broken: dict[int, _Broken] = {}
    for path in _broken_paths(findings):
        if path[:2] == _TASKS and len(path) > len(_TASKS):
            broken.setdefault(int(path[2]), set()).add(str(path[_TASK_FIELD]) if len(path) > _TASK_FIELD else "name")
        elif path[:1] == ("spec",) and len(path) > 1:
            spec.pop(str(path[1]), None)
    spec["tasks"] = [_without(task, index, broken.get(index, set())) for index, task in enumerate(tasks)]
    metadata = {"name": _UNREAD, "namespace": reference_in(document).namespace}
    parsed = validate({"kind": Dag.__name__, "metadata": metadata, "spec": spec})
    return Salvage(parsed.resource, broken) if isinstance(parsed.resource, Dag) else None


def reference_in(document: Mapping[str, Any]) -> Reference:
    """Return the identity that a document means, as far as it can be told."""
    metadata = document.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    name, namespace = given.get("name"), given.get("namespace", DEFAULT_NAMESPACE)
    return Reference(
        str(document.get("kind")),
        namespace if isinstance(namespace, str) else DEFAULT_NAMESPACE,
        name if isinstance(name, str) else _UNREAD,
    )


def _broken_paths(findings: Iterable[Finding]) -> Iterable[FieldPath]:
    for finding in findings:
        yield finding.path
        if finding.suggestion:
            # A misspelt field is also a missing one.
            yield (*finding.path[:-1], finding.suggestion)


def _without(task: Any, index: int, broken: _Broken) -> Any:
    if not broken:
        return task
    given = task if isinstance(task, dict) else {}
    if not broken & _ESSENTIAL:
        return {name: value for name, value in given.items() if name not in broken}
    kept = {name: given[name] for name in _KEPT if name in given and name not in broken}
    return {"name": f"{_UNREAD}-{index}", **_STAND_IN, **kept}
