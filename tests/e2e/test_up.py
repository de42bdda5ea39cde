"""`setpoint up` itself: how it starts, ends, is killed, and goes on where it stopped."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from e2e_processes import still_alive
from e2e_system import Up, eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-own")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_stops_all_of_it_and_the_next_up_finishes_the_run(
    new_system: Callable[[], Up], number: signal.Signals
) -> None:
    system = new_system().start().applied("chain")
    gate = system.gate("stop")
    run = system.trigger("chain", gate=gate.folder)
    gate.begun("second")
    assert system.stop(number) == 0
    assert system.leftovers() == []
    assert not (system.data / "config.json").exists()

    system.start()
    assert system.ended(run) == "Succeeded"
    assert system.effects(run) == [("first", 1), ("second", 2), ("third", 1)]
    assert system.attempts(run, "second") == [("Evicted", "Evicted"), ("Succeeded", "Succeeded")]
    assert system.stop() == 0
    assert system.leftovers() == []


def test_a_killed_up_leaves_nothing_behind_and_the_next_finishes_the_run(new_system: Callable[[], Up]) -> None:
    system = new_system().start().applied("chain")
    gate = system.gate("killed")
    run = system.trigger("chain", gate=gate.folder)
    gate.begun("second")
    assert still_alive(system.kill(), 30) == []
    assert system.leftovers() == []

    system.start()
    assert system.ended(run) == "Succeeded"
    assert system.effects(run) == [("first", 1), ("second", 2), ("third", 1)]
    assert system.attempts(run, "second")[0][0] == "Lost"
    assert system.stop() == 0
    assert system.leftovers() == []


def test_a_signal_while_it_starts_stops_it_too(new_system: Callable[[], Up]) -> None:
    system = new_system()
    system.process = system.launch()
    eventually("it has begun", lambda: "Postgres" in system.output.read_text())
    assert system.stop() == 0
    assert "stopped while it was starting" in system.output.read_text()
    assert system.leftovers() == []
    assert system.start().applied("chain").stop() == 0


def test_two_over_one_folder(new_system: Callable[[], Up]) -> None:
    system = new_system().start()
    second = system.launch()
    assert second.wait(30) == 1
    assert "a system already runs over" in system.output.read_text()
    assert system.client.get("workerpools") is not None
    assert system.stop() == 0


def test_a_port_that_is_taken(new_system: Callable[[], Up]) -> None:
    system = new_system()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert system.launch(f"--port={port}", "--examples-port=0").wait(30) == 1
    assert f"port {port} is taken; choose another by --port" in system.output.read_text()
    assert "Traceback" not in system.output.read_text()
    assert system.leftovers() == []


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        pytest.param(["--port=80000"], 2, "less than or equal to 65535", id="no port"),
        pytest.param(["--port=eighty"], 2, "valid integer", id="no number"),
        pytest.param(["--data-dir=file"], 1, "cannot be the data folder (File exists)", id="data folder is a file"),
        pytest.param(["--data-dir=file/below"], 1, "cannot be the data folder", id="data folder below a file"),
    ],
)
def test_options_that_cannot_be(new_system: Callable[[], Up], arguments: list[str], status: int, told: str) -> None:
    system = new_system()
    (system.folder / "file").touch()
    assert system.launch("--port=0", "--examples-port=0", *arguments).wait(30) == status
    assert told in system.output.read_text()
    assert "Traceback" not in system.output.read_text()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("with spaces and 'quotes'", id="spaces"),
        pytest.param("größe-データ-🛫", id="unicode"),
        pytest.param("/".join(["a-long-folder-name-that-goes-on-and-on"] * 5), id="long"),
        pytest.param("percent%20 $HOME #hash", id="signs"),
    ],
)
def test_odd_folders(tmp_path: Path, name: str) -> None:
    system = Up(tmp_path / name)
    try:
        system.start().applied("chain")
        gate = system.gate("odd")
        gate.open()
        run = system.trigger("chain", gate=gate.folder)
        assert system.ended(run) == "Succeeded"
        assert len(system.effects(run)) == 3
        run = system.trigger("cold", gate=gate.folder)
        assert system.ended(run) == "Succeeded"
        assert system.stop() == 0
        assert system.leftovers() == []
    finally:
        system.clear()


def test_dags_that_cannot_be_written(new_system: Callable[[], Up]) -> None:
    system = new_system()
    for folder, _, names in os.walk(system.dags):
        for name in names:
            (system.dags / folder / name).chmod(0o444)
    for folder, _, _ in os.walk(system.dags, topdown=False):
        (system.dags / folder).chmod(0o555)
    system.start().applied("chain")
    assert not list(system.dags.rglob("__pycache__"))
    assert system.stop() == 0


def test_no_dags_at_all(new_system: Callable[[], Up]) -> None:
    """It says so, and serves what is applied by hand."""
    system = new_system()
    system.dags = system.folder / "nowhere"
    system.start()
    assert system.objects("dags") == []
    assert "nowhere/ (does not exist, so nothing is applied" in system.output.read_text()
    assert system.stop() == 0
