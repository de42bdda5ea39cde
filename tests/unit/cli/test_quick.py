"""A command starts without what takes long to import, and reads its options as typer would."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from controller.cli import quick

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {"pydantic", "rich", "httpx", "psycopg", "yaml", "starlette", "watchfiles", "polars", "boto3", "opentelemetry"}
_RUN = """
import json, sys
from controller.cli.main import main
sys.argv = ["setpoint", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--help"], id="help"),
        pytest.param(["get", "runs"], id="get"),
        pytest.param(["-n", "default", "get", "runs", "-l", "team=x", "-o", "json"], id="get with options"),
    ],
)
def test_a_command_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _RUN, json.dumps(words)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"SETPOINT_URL": "http://127.0.0.1:9", "PATH": ""},
        timeout=60,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert "controller" in loaded
    assert not loaded & HEAVY


def _app() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def show(
        words: Annotated[list[str], typer.Argument()],
        text: Annotated[str, typer.Option()] = "t",
        number: Annotated[int, typer.Option(min=1, max=9)] = 5,
        span: Annotated[float | None, typer.Option()] = None,
        many: Annotated[list[str] | None, typer.Option()] = None,
        flag: Annotated[bool, typer.Option("--flag/--no-flag")] = False,
    ) -> None:
        typer.echo(json.dumps([words, text, number, span, many, flag]))

    return app


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["a"], [["a"], "t", 5, None, None, False], id="defaults"),
        pytest.param(["a", "b", "--text", "x"], [["a", "b"], "x", 5, None, None, False], id="texts"),
        pytest.param(["a", "--number", "7", "--span", "1.5"], [["a"], "t", 7, 1.5, None, False], id="numbers"),
        pytest.param(["a", "--many", "x", "--many", "y", "--flag"], [["a"], "t", 5, None, ["x", "y"], True], id="many"),
    ],
)
def test_options_are_read_as_typer_reads_them(words: list[str], expected: Any) -> None:
    plain = CliRunner().invoke(_app(), words)
    quick.install()
    found = CliRunner().invoke(_app(), words)
    assert json.loads(found.stdout) == expected
    assert (found.exit_code, found.stdout) == (plain.exit_code, plain.stdout)


@pytest.mark.parametrize(
    "words", [["a", "--number", "x"], ["a", "--number", "10"], ["a", "--span", "x"], [], ["a", "--nothing"]]
)
def test_what_is_wrong_is_refused_as_before(words: list[str]) -> None:
    quick.install()
    found = CliRunner().invoke(_app(), words)
    assert found.exit_code == 2
