"""docs/cli.md: its table is the program's, and its commands run."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from controller.cli import contexts
from controller.cli.main import COMMANDS, Entry, Group, app, command_of
from tests.integration.api_world import DIAMOND, POOLS, running
from tests.integration.test_cli_commands import PATIENCE_SECONDS, command, environment

if TYPE_CHECKING:
    from tests.conftest import Database

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_EXIT = re.compile(r"\s+# exit (\d)$")


def entries() -> list[tuple[str, Entry]]:
    """Return all commands by what is typed."""
    found = []
    for name, entry in COMMANDS.items():
        inner = entry.commands.items() if isinstance(entry, Group) else [("", entry)]
        found += [(f"{name} {word}".strip(), each) for word, each in inner]
    return found


def test_the_table_is_that_of_the_program() -> None:
    head = "| command | what it does | example |\n| --- | --- | --- |\n"
    wanted = head + "".join(f"| `{name}` | {entry.help} | `{entry.example}` |\n" for name, entry in entries())
    assert wanted in DOCUMENT.read_text(encoding="utf-8"), f"put this into {DOCUMENT.name}:\n{wanted}"


@pytest.mark.parametrize(("name", "entry"), [pytest.param(n, e, id=n) for n, e in entries()])
def test_every_example_is_one_that_the_command_takes(name: str, entry: Entry) -> None:
    program, *words = shlex.split(entry.example)
    assert program == "setpoint"
    typed = name.split()
    assert words[: len(typed)] == typed
    # Parsed, not run: some of these start whole systems.
    parsed: Any = command_of(typed[-1], entry).make_context(name, words[len(typed) :])
    assert parsed.command is not None


def test_the_program_is_made_of_these() -> None:
    made: Any = typer.main.get_command(app)
    assert made.list_commands(None) == list(COMMANDS)


def test_the_commands_run(database: Database, tmp_path: Path) -> None:
    lines = [line for block in _BLOCK.findall(DOCUMENT.read_text(encoding="utf-8")) for line in block.splitlines()]
    with running(database) as world:
        world.apply(*POOLS, DIAMOND)
        world.start(world.trigger("diamond"), {"a": "Ready"})
        contexts.put(tmp_path / ".setpoint" / "config.json", "local", {"url": world.url}, choose=True)
        env = environment(world) | {"PYTHONPATH": str(Path.cwd())}
        # With the address of the environment nothing is lost that the file says.
        wrong = []
        for line in lines:
            expected = _EXIT.search(line)
            _, *words = shlex.split(_EXIT.sub("", line))
            done = subprocess.run(
                command(*words), env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
            )  # fmt: skip
            if done.returncode != int(expected[1] if expected else 0):
                wrong.append((line, done.returncode, done.stderr[-500:]))
    assert wrong == []
