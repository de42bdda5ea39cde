"""The README's two minutes: each of its commands runs beside a whole system, and ends well."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e_system import COMMAND, Up, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("drill"), pytest.mark.timeout(360)]

ROOT = Path(__file__).parents[2]
SECTION, NEXT = "## Run it for a living", "\n## "
DRILL_WITHIN = 300.0


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index(SECTION) + len(SECTION) :]
    lines = section[: section.index(NEXT)].splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    dags = tmp_path / "examples"
    dags.mkdir()
    shutil.copytree(ROOT / "dags" / "hello", dags / "hello", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dags" / "pools.yaml", dags)
    system = Up(tmp_path / "system", dags)
    try:
        yield system.start().applied("hello")
    finally:
        system.clear()


def test_the_tour(up: Up, tmp_path: Path) -> None:
    found = commands()
    assert len(found) >= 8
    (tmp_path / ".setpoint").mkdir()
    (tmp_path / ".setpoint" / "config.json").symlink_to(up.data / "config.json")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SETPOINT_")}
    for command in found:
        program, *words = shlex.split(command)
        assert program == "setpoint", command
        done = subprocess.run(
            [str(COMMAND), *words],
            cwd=tmp_path,
            env=inherited,
            capture_output=True,
            text=True,
            timeout=DRILL_WITHIN,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if words[0] == "rerun":
            eventually(
                "the run ends again", lambda: {r["status"]["phase"] for r in up.objects("dagruns")} == {"Succeeded"}
            )
