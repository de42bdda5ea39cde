"""Names, targets, drawings and texts of the command line."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from controller.cli import graph, names, text
from controller.cli.errors import CliError
from controller.cli.names import Named
from controller.cli.target import DEFAULT_URL, Target, find_target
from crds.graph import topological
from crds.kinds import KINDS, WORDS, find_kind

if TYPE_CHECKING:
    from pathlib import Path

RUN_OR_TASK = ("dagruns", "taskruns")


def test_words_are_those_of_the_kinds() -> None:
    assert set(names.WORDS) == set(WORDS)
    for word, plural in names.WORDS.items():
        kind = find_kind(word)
        assert kind is not None
        assert kind.plural == plural
    assert set(names.SHORT) == {kind.plural for kind in KINDS.values()}


@pytest.mark.parametrize(
    ("words", "allowed", "expected"),
    [
        pytest.param(["run/x"], tuple(names.SHORT), Named("dagruns", "x"), id="kind/name"),
        pytest.param(["wp", "x"], tuple(names.SHORT), Named("workerpools", "x"), id="kind name"),
        pytest.param(["x"], ("dags",), Named("dags", "x"), id="the kind is clear"),
        pytest.param(["f-1"], RUN_OR_TASK, Named("dagruns", "f-1"), id="a run"),
        pytest.param(["f-1.a"], RUN_OR_TASK, Named("taskruns", "f-1.a"), id="a task"),
    ],
)
def test_parse(words: list[str], allowed: tuple[str, ...], expected: Named) -> None:
    assert names.parse(words, allowed) == expected


@pytest.mark.parametrize(
    ("words", "allowed", "says"),
    [
        pytest.param(["rum/x"], tuple(names.SHORT), "did you mean run?", id="misspelt"),
        pytest.param(["run/"], tuple(names.SHORT), "write run/NAME", id="no name"),
        pytest.param(["x"], tuple(names.SHORT), "names no object", id="no kind"),
        pytest.param(["dag/x"], ("dagruns",), "needs run/NAME", id="wrong kind"),
        pytest.param(["a", "b", "c"], ("dags",), "names no object", id="too many"),
    ],
)
def test_parse_refuses(words: list[str], allowed: tuple[str, ...], says: str) -> None:
    with pytest.raises(CliError, match=says.replace("?", r"\?")):
        names.parse(words, allowed)


def test_the_target_is_the_environment_then_the_nearest_file(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_target({}, below) == Target(DEFAULT_URL)
    (tmp_path / "a" / ".setpoint").mkdir()
    context = tmp_path / "a" / ".setpoint" / "config.json"
    context.write_text('{"current": "local", "contexts": {"local": {"url": "http://h:1/", "token": "t"}}}')
    assert find_target({}, below) == Target("http://h:1", "t", f"context local of {context}")
    assert find_target({"SETPOINT_TOKEN": "mine"}, below).token == "mine"
    assert find_target({"SETPOINT_URL": "http://e/"}, below) == Target("http://e", None, "SETPOINT_URL")
    context.write_text("{")
    with pytest.raises(CliError, match="no file of contexts"):
        find_target({}, below)


def test_a_context_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="setpoint deploy"):
        find_target({"SETPOINT_CONTEXT": "dev"}, tmp_path)
    file = tmp_path / ".setpoint" / "config.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"contexts": {"dev": {"url": "https://h", "token": "t", "authority": "PEM", "serverName": "n"}}}')
    found = find_target({"SETPOINT_CONTEXT": "dev"}, tmp_path)
    assert found == Target("https://h", "t", f"context dev of {file}", "PEM", "n")


@pytest.mark.parametrize(
    ("needs", "lines"),
    [
        pytest.param({"a": [], "b": []}, ["a", "b"], id="two roots"),
        pytest.param({"a": [], "b": ["a"], "c": ["b"]}, ["a", "└─ b", "   └─ c"], id="chain"),
        pytest.param(
            {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]},
            ["a", "├─ b", "│  └─ d  + c", "└─ c"],
            id="diamond",
        ),
        pytest.param(
            {"x": [], "a": [], "b": ["a"], "c": ["x", "b"]}, ["x", "a", "└─ b", "   └─ c  + x"], id="deepest parent"
        ),
    ],
)
def test_tree(needs: dict[str, list[str]], lines: list[str]) -> None:
    assert graph.tree(needs) == lines


def test_long_chains_are_drawn_and_ordered() -> None:
    needs = {"t0": [], **{f"t{n}": [f"t{n - 1}"] for n in range(1, 3_000)}}
    assert len(graph.tree(needs)) == 3_000
    assert graph.order(dict(reversed(needs.items()))) == topological(needs)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0s"), (45, "45s"), (200, "3m20s"), (1_200, "20m"), (7_200, "2h"), (9_000, "2h30m"), (900_000, "10d")],
)
def test_span(seconds: int, expected: str) -> None:
    assert text.span(timedelta(seconds=seconds)) == expected


@pytest.mark.parametrize(("count", "expected"), [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (2**41, "2.0 TiB")])
def test_size(count: int, expected: str) -> None:
    assert text.size(count) == expected


@pytest.mark.parametrize(
    "module", ["main", "get", "logs", "steer", "explain", "wait", "top", "doctor", "config", "completion"]
)
def test_common_commands_import_nothing_heavy(module: str) -> None:
    code = f"import sys, controller.cli.main, controller.cli.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"pydantic", "rich", "rich.table", "httpx", "psycopg", "yaml", "starlette", "watchfiles", "polars", "boto3"}
    assert heavy & set(done.stdout.split()) == set()
