"""The DAGs of the benchmarks: chains, fans, diamonds of no-op tasks."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

POOL = "python"
"""The runtime, and the pool that has its name."""
RUNS_AT_ONCE = 10_000
_BODIES = Path(__file__).with_name("bodies.py")
_API = "setpoint.dev/v1"


@dataclass(frozen=True, slots=True)
class Task:
    """One task: the function of bodies.py that it runs, and what it needs."""

    body: str = "noop"
    needs: tuple[str, ...] = ()
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dag:
    """A DAG by name."""

    name: str
    tasks: Mapping[str, Task]

    def write(self, folder: Path) -> None:
        """Write the DAG's folder; JSON is YAML."""
        place = folder / self.name
        place.mkdir(parents=True)
        shutil.copyfile(_BODIES, place / _BODIES.name)
        tasks = [_task(name, task) for name, task in self.tasks.items()]
        spec = {"concurrency": {"maxActiveRuns": RUNS_AT_ONCE}, "tasks": tasks}
        _write(place / "dag.yaml", {"kind": "Dag", "metadata": {"name": self.name}, "spec": spec})


def chain(name: str, length: int, body: str = "noop", args: Mapping[str, Any] | None = None) -> Dag:
    """Return tasks that run one after the other."""
    tasks = [f"t{n:05}" for n in range(length)]
    needs: list[tuple[str, ...]] = [(), *((task,) for task in tasks)]
    return Dag(name, {task: Task(body, above, args or {}) for task, above in zip(tasks, needs, strict=False)})


def fan(name: str, width: int) -> Dag:
    """Return one task, then `width` tasks side by side, then one again."""
    leaves = tuple(f"t{n:05}" for n in range(width))
    middle = {leaf: Task(needs=("first",)) for leaf in leaves}
    return Dag(name, {"first": Task(), **middle, "last": Task(needs=leaves)})


def write_pool(folder: Path, slots: int, workers: int) -> None:
    """Declare the pool in which all of it runs: a constant number of workers."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"runtime": POOL, "slots": slots, "minTasks": workers, "maxTasks": workers}
    _write(folder / "pools.yaml", {"kind": "WorkerPool", "metadata": {"name": POOL}, "spec": spec})


def _task(name: str, task: Task) -> dict[str, Any]:
    """Return a task without what goes without saying: 10,000 of them must fit into one file."""
    what = {"entrypoint": f"bodies:{task.body}"} | ({"args": dict(task.args)} if task.args else {})
    needs = {"needs": task.needs} if task.needs else {}
    return {"name": name, "runtime": POOL, **needs, "with": what}


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps({"apiVersion": _API, **document}, separators=(",", ":")))
