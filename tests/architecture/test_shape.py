"""The shape of the code: who imports whom, how long modules and functions are, and that tables agree with each other."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crds.phases import (
    ATTEMPT_TRANSITIONS,
    FAILED_TASK,
    FINAL_RUN,
    FINAL_TASK,
    LIVE_ATTEMPT,
    RUN_TRANSITIONS,
    TASK_TRANSITIONS,
    AttemptPhase,
    RunPhase,
    TaskPhase,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from enum import StrEnum

ROOT = Path(__file__).parents[2]
MODULE_LIMIT, FUNCTION_LIMIT = 400, 50
CODE = [path for folder in ("controller", "workers", "crds") for path in sorted((ROOT / folder).rglob("*.py"))]
SCHEMA = sorted((ROOT / "controller/store/migrations/versions").glob("*.sql"))

# A decision is a function of its arguments: no clock, no I/O, no logging, no chance.
IMPURE = {
    "asyncio", "boto3", "botocore", "httpx", "io", "logging", "obstore", "os", "pathlib", "psycopg", "psycopg_pool", "random",
    "secrets", "socket", "structlog", "subprocess", "threading", "time", "urllib", "uuid",
}  # fmt: skip
OURS_TOO_IMPURE = (
    "controller.store",
    "controller.aws",
    "controller.api",
    "controller.reconcilers",
    "controller.informers",
)
SHUNNED = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    """Yield what a module imports when it runs; what only type checkers import does nothing."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in node.body
        for inner in ast.walk(child)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_one_way() -> None:
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "controller/diff").glob("*.py")), ids=relative)
@pytest.mark.pain("T4")
def test_decisions_are_pure(path: Path) -> None:
    found = set(imports(path))
    assert not {name for name in found if name.partition(".")[0] in IMPURE}
    assert not {name for name in found if name.startswith(OURS_TOO_IMPURE)}
    calls = {ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)}
    assert not calls & {"datetime.now", "datetime.utcnow", "open", "print"}


def test_no_decision_reaches_io_through_what_it_imports() -> None:
    """Importing every decision loads neither Postgres nor AWS nor the log."""
    names = [f"controller.diff.{p.stem}" for p in (ROOT / "controller/diff").glob("*.py") if p.stem != "__init__"]
    script = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
print(*sorted(sys.modules.keys() & {{'psycopg', 'boto3', 'structlog', 'starlette', 'controller.store'}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", CODE, ids=relative)
def test_modules_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_LIMIT
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f.name: n for f in functions if (n := (f.end_lineno or 0) - f.lineno + 1) > FUNCTION_LIMIT}
    assert not long


def test_no_module_is_a_drawer_for_everything() -> None:
    assert not [relative(path) for path in CODE if path.stem in SHUNNED]


def test_controller_and_workers_share_only_the_nouns() -> None:
    for path in CODE:
        package = path.relative_to(ROOT).parts[0]
        foreign = {"controller": "workers", "workers": "controller"}.get(package, "controller")
        assert not {name for name in imports(path) if name.partition(".")[0] == foreign}, relative(path)


# Phases


def checks(column: str, table: str) -> set[str]:
    """Return the values that a CHECK constraint allows for a column of a table."""
    text = "\n".join(path.read_text() for path in SCHEMA)
    body = re.search(rf"CREATE TABLE {table} \((.*?)\n\);", text, re.DOTALL)
    assert body is not None
    found = re.search(rf"\n    {column} [^\n]*?\s*CHECK \({column} IN \((.*?)\)\)", body[1], re.DOTALL)
    assert found is not None
    return set(re.findall(r"'(\w+)'", found[1]))


@pytest.mark.parametrize(
    ("table", "phases"),
    [
        pytest.param("attempt", AttemptPhase, id="attempt"),
        pytest.param("task_run", TaskPhase, id="task_run"),
        pytest.param("run", RunPhase, id="run"),
    ],
)
def test_the_database_knows_the_same_phases(table: str, phases: type[StrEnum]) -> None:
    assert checks("phase", table) == set(phases)


@pytest.mark.parametrize(
    ("phases", "transitions", "start"),
    [
        pytest.param(AttemptPhase, ATTEMPT_TRANSITIONS, AttemptPhase.PENDING, id="attempt"),
        pytest.param(TaskPhase, TASK_TRANSITIONS, TaskPhase.WAITING, id="task_run"),
        pytest.param(RunPhase, RUN_TRANSITIONS, RunPhase.PENDING, id="run"),
    ],
)
def test_transitions_cover_every_phase_and_reach_it(
    phases: type[StrEnum], transitions: Mapping[StrEnum, frozenset[StrEnum]], start: StrEnum
) -> None:
    assert set(transitions) == set(phases)
    reached, open_ = {start}, [start]
    while open_:
        nexts = transitions[open_.pop()] - reached
        reached |= nexts
        open_ += nexts
    assert reached == set(phases)


def test_what_is_final_leaves_only_by_a_retry() -> None:
    assert {p for p, nexts in ATTEMPT_TRANSITIONS.items() if not nexts} == set(AttemptPhase) - LIVE_ATTEMPT
    assert all(TASK_TRANSITIONS[p] <= {TaskPhase.READY, TaskPhase.WAITING} for p in FINAL_TASK)
    assert all(RUN_TRANSITIONS[p] <= {RunPhase.RUNNING} for p in FINAL_RUN)
    assert FAILED_TASK < FINAL_TASK


def test_a_committed_attempt_ends_only_as_succeeded() -> None:
    assert ATTEMPT_TRANSITIONS[AttemptPhase.COMMITTED] == {AttemptPhase.SUCCEEDED}


def test_the_database_knows_the_same_final_phases() -> None:
    text = "\n".join(path.read_text() for path in SCHEMA)
    final = {
        "task_run": {str(p) for p in FINAL_TASK},
        "run": {str(p) for p in FINAL_RUN},
        "attempt": {str(p) for p in LIVE_ATTEMPT},
    }
    for table, phases in final.items():
        body = re.search(rf"CREATE TABLE {table} \((.*?)\n\);", text, re.DOTALL)
        assert body is not None
        found = re.search(r"CHECK \(\(ended_at IS (?:NOT )?NULL\) = \(phase IN \((.*?)\)\)\)", body[1], re.DOTALL)
        assert found is not None, table
        assert set(re.findall(r"'(\w+)'", found[1])) == phases
