"""The DAGs under chaos: a chain, a fan, a diamond, one long task, and one that only schedules start."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

POOL = "python"
QUEUE = f"setpoint-{POOL}.fifo"
SLOTS, WORKERS = 4, 2
READINGS = 200
"""Rows of Parquet that one attempt writes, in two partitions."""
SCHEDULES = ("first", "second", "third")
EDITED = ("chain", "fan")
"""The DAGs whose files are edited."""
BODIES = Path(__file__).with_name("bodies.py")
_API = "setpoint.dev/v1"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One task: what it needs, how long it takes, and where its effects go."""

    needs: tuple[str, ...] = ()
    seconds: tuple[float, float] = (0.0, 0.1)
    hot: bool = True
    cold: bool = False


@dataclass(frozen=True, slots=True)
class Dag:
    """A DAG by name; `triggered` by clients, or by schedules alone."""

    name: str
    tasks: Mapping[str, Task]
    schedules: tuple[str, ...] = field(default=())

    def document(self, journal: Path, edition: int) -> Document:
        """Return the resource at one edition: each has other arguments, and every second one a task more."""
        tasks = dict(self.tasks)
        if edition % 2:
            tasks[f"added{edition}"] = Task(needs=tuple(self.tasks)[:1])
        spec: Document = {
            "concurrency": {"maxActiveRuns": 1_000},
            # Nothing of the user's fails here, so a single failure of that kind is one of ours.
            "defaults": {"retries": {"limit": 0, "infrastructure": 100}},
            "tasks": [_task(name, task, journal, edition) for name, task in tasks.items()],
        }
        if self.schedules:
            spec["schedules"] = [{"name": n, "cron": "* * * * *", "catchup": "all"} for n in self.schedules]
        return _resource("Dag", self.name, spec)


_SLOW = (0.5, 3.0)
DAGS = (
    Dag(
        "chain",
        {
            "first": Task(),
            "second": Task(("first",), _SLOW),
            "third": Task(("second",), hot=False, cold=True),
            "fourth": Task(("third",), hot=False),
        },
    ),
    Dag(
        "fan",
        {
            "first": Task(),
            **{f"leaf{n}": Task(("first",), (0.1, 0.6)) for n in range(6)},
            "last": Task(tuple(f"leaf{n}" for n in range(6))),
        },
    ),
    Dag(
        "diamond",
        {
            "top": Task(cold=True),
            "left": Task(("top",), _SLOW, hot=False, cold=True),
            "right": Task(("top",)),
            "bottom": Task(("left", "right")),
        },
    ),
    Dag("long", {"work": Task((), (5.0, 12.0), cold=True)}),
    Dag("ticking", {"first": Task(), "second": Task(("first",), cold=True)}, SCHEDULES),
)
TRIGGERED = tuple(dag.name for dag in DAGS if not dag.schedules)


def write(folder: Path, journal: Path) -> None:
    """Write the folder that `setpoint up` applies."""
    folder.mkdir(parents=True)
    pool = _resource(
        "WorkerPool", POOL, {"runtime": "python", "slots": SLOTS, "minTasks": WORKERS, "maxTasks": WORKERS}
    )
    (folder / "pools.yaml").write_text(json.dumps(pool))
    (folder / "datasets.yaml").write_text("\n---\n".join(json.dumps(dataset) for dataset in _datasets()))
    for dag in DAGS:
        (folder / dag.name).mkdir()
        write_dag(folder, dag, journal, edition=0)


def write_dag(folder: Path, dag: Dag, journal: Path, edition: int) -> None:
    """Write a DAG's folder at one edition; each file is replaced as a whole."""
    code = BODIES.read_text().replace("EDITION = 0", f"EDITION = {edition}")
    replace(folder / dag.name / BODIES.name, code)
    replace(folder / dag.name / "dag.yaml", json.dumps(dag.document(journal, edition), indent=1))


def replace(path: Path, text: str) -> None:
    """Replace a file as a whole, as editors do."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)


def _task(name: str, task: Task, journal: Path, edition: int) -> Document:
    args = {
        "journal": str(journal),
        "edition": edition,
        "hot": task.hot,
        "readings": READINGS if task.cold else 0,
        "seconds": task.seconds,
    }
    outputs: Document = {}
    if task.hot:
        outputs["effects"] = {"dataset": "effects", "mode": "append"}
        outputs["marks"] = {"dataset": "marks", "mode": "merge"}
    if task.cold:
        outputs["readings"] = {"dataset": "readings", "mode": "append"}
    return {
        "name": name,
        "runtime": "python",
        "needs": list(task.needs),
        "inputs": {f"from_{need}": {"task": need, "key": "attempt"} for need in task.needs},
        "outputs": outputs,
        "with": {"entrypoint": "bodies:work", "args": args},
    }


def _datasets() -> list[Document]:
    attempt = [_column(name, "string") for name in ("run", "task", "attempt")]
    seen = [_column("edition", "int64"), _column("code", "int64"), _column("saw", "string")]
    parts = [_column("part", "int64"), _column("value", "int64")]
    return [
        _resource("Dataset", "effects", {"tier": "hot", "columns": [*attempt, *seen]}),
        _resource("Dataset", "marks", {"tier": "hot", "columns": attempt, "uniqueKey": ["run", "task"]}),
        _resource("Dataset", "readings", {"tier": "cold", "columns": [*attempt, *parts], "partitionBy": ["part"]}),
    ]


def _column(name: str, kind: str) -> Document:
    return {"name": name, "type": kind, "nullable": False}


def _resource(kind: str, name: str, spec: Document) -> Document:
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, "spec": spec}
