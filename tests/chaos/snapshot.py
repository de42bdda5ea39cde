"""What is in the database and in the object store when all is over, as values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from e2e_system import Up

_NOW: LiteralString = "SELECT now()"
_RUNS: LiteralString = """
    SELECT uid, name, dag, dag_uid, revision, key, schedule, tick, phase, reason, message, ended_at IS NOT NULL AS ended
      FROM setpoint.run
"""
_TASKS: LiteralString = """
    SELECT run_uid AS run, task, phase, number, reason, message, ended_at IS NOT NULL AS ended FROM setpoint.task_run
"""
_ATTEMPTS: LiteralString = """
    SELECT id, run_uid AS run, task, number, phase, reason, message, ended_at IS NOT NULL AS ended FROM setpoint.attempt
"""
_REVISIONS: LiteralString = "SELECT dag_uid, generation, spec FROM setpoint.revision"
_DAGS: LiteralString = "SELECT name, spec, created_at FROM setpoint.resource WHERE kind = 'Dag'"
_EFFECTS: LiteralString = "SELECT attempt, edition, code, saw FROM hot.effects"
_MARKS: LiteralString = "SELECT attempt FROM hot.marks"
_FILES: LiteralString = "SELECT key, attempt, rows FROM setpoint.manifest_file WHERE removed IS NULL"
_UNFINISHED: LiteralString = "SELECT count(*) AS n FROM setpoint.run WHERE ended_at IS NULL"
_STAGES: LiteralString = """
    SELECT (SELECT count(*) FROM setpoint.stage_table) + (SELECT count(*) FROM pg_tables WHERE schemaname = 'stage') AS n
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A run; `revision` is (uid of its DAG, generation)."""

    uid: str
    name: str
    dag: str
    revision: tuple[str, int]
    key: str
    schedule: str | None
    tick: datetime | None
    phase: str
    why: str
    ended: bool


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A task of a run, by the run's uid; `number` is that of its newest attempt."""

    run: str
    task: str
    phase: str
    number: int
    why: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt."""

    id: str
    run: str
    task: str
    number: int
    phase: str
    reason: str
    why: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Declared:
    """What a revision says of a task."""

    edition: int
    needs: tuple[str, ...]
    hot: bool
    cold: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """A row that an attempt has added to the hot table, with what it saw: its arguments, its code, its upstream."""

    attempt: str
    edition: int
    code: int
    saw: frozenset[str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is judged."""

    taken: datetime
    """By the clock of the database, which decides about ticks too."""
    runs: Sequence[Run]
    tasks: Sequence[TaskRun]
    attempts: Sequence[Attempt]
    revisions: Mapping[tuple[str, int], Mapping[str, Declared]]
    editions: Mapping[str, int]
    """The edition of each DAG as it is applied now."""
    created: Mapping[str, datetime]
    effects: Sequence[Effect]
    marks: Sequence[str]
    manifest: Mapping[str, int]
    """Attempt → rows of Parquet that the manifest says it wrote."""
    parquet: Mapping[str, int]
    """Attempt → rows of Parquet that the manifest's files really hold."""


def unfinished(up: Up) -> int:
    """Return how many runs have not ended."""
    return int(up.rows(_UNFINISHED)[0]["n"])


def stages(up: Up) -> int:
    """Return how many stage tables there are, known or forgotten."""
    return int(up.rows(_STAGES)[0]["n"])


def take(up: Up) -> Snapshot:
    """Read everything that is judged."""
    dags = up.rows(_DAGS)
    files = up.rows(_FILES)
    manifest: Counter[str] = Counter()
    for row in files:
        manifest[row["attempt"]] += row["rows"]
    return Snapshot(
        taken=up.rows(_NOW)[0]["now"],
        runs=[_run(row) for row in up.rows(_RUNS)],
        tasks=[TaskRun(**_why(row)) for row in up.rows(_TASKS)],
        attempts=[Attempt(**_why(row, "reason"), reason=row["reason"] or "") for row in up.rows(_ATTEMPTS)],
        revisions={(r["dag_uid"], r["generation"]): _declared(r["spec"]) for r in up.rows(_REVISIONS)},
        editions={row["name"]: next(iter(_declared(row["spec"]).values())).edition for row in dags},
        created={row["name"]: row["created_at"] for row in dags},
        effects=[_effect(row) for row in up.rows(_EFFECTS)],
        marks=[row["attempt"] for row in up.rows(_MARKS)],
        manifest=manifest,
        parquet=_parquet(up, [row["key"] for row in files]),
    )


def _run(row: Mapping[str, Any]) -> Run:
    plain = {k: v for k, v in _why(row).items() if k not in {"dag_uid", "revision"}}
    return Run(**plain, revision=(row["dag_uid"], row["revision"]))


def _why(row: Mapping[str, Any], *_: str) -> dict[str, Any]:
    """Put reason and message together."""
    why = " ".join(row[name] for name in ("reason", "message") if row[name])
    return {**{k: v for k, v in row.items() if k not in {"reason", "message"}}, "why": why}


def _declared(spec: Mapping[str, Any]) -> dict[str, Declared]:
    return {task["name"]: _task(task) for task in spec["tasks"]}


def _task(task: Mapping[str, Any]) -> Declared:
    outputs = task.get("outputs", {})
    needs = tuple(task.get("needs", ()))
    return Declared(task["with"]["args"]["edition"], needs, "effects" in outputs, "readings" in outputs)


def _effect(row: Mapping[str, Any]) -> Effect:
    return Effect(row["attempt"], row["edition"], row["code"], frozenset(row["saw"].split()))


def _parquet(up: Up, keys: Sequence[str]) -> Counter[str]:
    """Count rows by attempt; a file that the manifest names and that is not there counts nothing."""
    counts: Counter[str] = Counter()
    for key in keys:
        path = up.data / "objects" / key
        if path.exists():
            counts.update(pl.read_parquet(path, columns=["attempt"])["attempt"].to_list())
    return counts
