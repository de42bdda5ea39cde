"""The file of contexts: written whole, by one at a time, and chosen from by name."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from controller.cli import contexts
from controller.cli.errors import CliError
from controller.cli.target import CONFIG_FILE, find_config, find_target, read_config

if TYPE_CHECKING:
    from pathlib import Path

_PUT = """
import sys
from pathlib import Path
from controller.cli import contexts
for n in range(20):
    contexts.put(Path(sys.argv[1]), f"{sys.argv[2]}-{n}", {"url": "http://h"}, choose=False)
"""


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_FILE

    def write(name: str) -> None:
        subprocess.run([sys.executable, "-c", _PUT, str(path), name], check=True, timeout=120)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(write, ("a", "b", "c")))
    assert len(read_config(path).contexts) == 60
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_first_context_is_current_and_a_chosen_one(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_FILE
    contexts.put(path, "dev", {"url": "http://dev"}, choose=False)
    contexts.put(path, "prod", {"url": "http://prod"}, choose=False)
    assert find_target({}, tmp_path).url == "http://dev"
    contexts.put(path, "local", {"url": "http://local"}, choose=True)
    assert find_target({}, tmp_path).url == "http://local"
    contexts.choose(path, "prod")
    assert find_target({}, tmp_path).url == "http://prod"
    assert find_target({"SETPOINT_CONTEXT": "dev"}, tmp_path).url == "http://dev"
    assert find_target({"SETPOINT_CONTEXT": "dev", "SETPOINT_URL": "http://u"}, tmp_path, "local").url == "http://local"


def test_an_unknown_context_names_the_known(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_FILE
    contexts.put(path, "dev", {"url": "http://dev"}, choose=False)
    with pytest.raises(CliError, match="known are dev"):
        find_target({}, tmp_path, "dve")
    with pytest.raises(CliError, match="known are dev"):
        contexts.choose(path, "dve")


def test_a_system_that_ends_takes_its_context_along(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_FILE
    contexts.put(path, "dev", {"url": "http://dev"}, choose=False)
    contexts.put(path, "local", {"url": "http://local"}, choose=True)
    contexts.remove(path, "local")
    with pytest.raises(CliError, match="no current context; known are dev"):
        find_target({}, tmp_path)
    contexts.remove(path, "dev")
    assert find_config(tmp_path) is None


def test_commands(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_FILE
    for name in ("dev", "prod"):
        contexts.put(path, name, {"url": f"http://{name}", "token": "only-for-tests"}, choose=False)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "controller.cli.main", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    assert run("config", "get-contexts", "-o", "name").stdout.split() == ["dev", "prod"]
    assert run("config", "use-context", "prod").returncode == 0
    assert run("config", "current-context").stdout.strip() == "prod"
    assert run("--context", "dev", "config", "current-context").stdout.strip() == "dev"
    assert "only-for-tests" not in run("config", "view").stdout
    assert json.loads(run("config", "view", "--raw").stdout)["contexts"]["dev"]["token"] == "only-for-tests"
    assert "did you mean use-context?" in run("config", "use-contex").stderr
    assert "did you mean describe?" in run("descibe").stderr
    assert "Example: setpoint get" in run("get", "--help").stdout
