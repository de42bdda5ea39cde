"""`python -m workers --check`, and the probe of a worker that runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.worker_world import CREDENTIALS, TOKEN, World, eventually, sqs_server, world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Database

NAMES = ["settings", "role", "dispatcher", "queue", "database", "objects"]


@pytest.fixture(scope="module")
def sqs_url() -> Iterator[str]:
    with sqs_server() as url:
        yield url


@pytest.fixture
def here(tmp_path: Path, sqs_url: str) -> Iterator[World]:
    with world(tmp_path, sqs_url) as made:
        yield made


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def run(here: World, *arguments: str, module: str = "workers", **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL_SQS": here.sqs_url,
        # Nobody listens there: the role is only a name.
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
        "SETPOINT_URL": here.url,
        "SETPOINT_POOL": "python",
        "SETPOINT_POOL_TOKEN": TOKEN,
        "SETPOINT_QUEUE_URL": here.queue_url,
        "SETPOINT_OBJECT_STORE": f"file://{here.folder / 'objects'}",
        **CREDENTIALS,
        **more,
    }
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_all_is_well_and_nothing_is_touched(here: World, database: Database) -> None:
    here.submit("def main(ctx): return {}")
    done = run(here, "--check", SETPOINT_HOT_DSN=database.worker_conninfo)

    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["ok", name] for name in NAMES]
    assert here.messages() == 1
    assert not here.dispatcher.claims
    assert not here.dispatcher.heartbeats


@pytest.mark.parametrize(
    ("more", "failed", "says"),
    [
        pytest.param({"SETPOINT_POOL_TOKEN": "wrong"}, "dispatcher", "pool token", id="another token"),
        pytest.param({"SETPOINT_URL": "http://127.0.0.1:9"}, "dispatcher", "SETPOINT_URL", id="no dispatcher"),
        pytest.param({"AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9"}, "queue", "SETPOINT_QUEUE_URL", id="no queue"),
        pytest.param(
            {"SETPOINT_HOT_DSN": "host=127.0.0.1 port=9 user=x password=hidden-word"},
            "database",
            "SETPOINT_HOT_DSN",
            id="no database",
        ),
        pytest.param({"SETPOINT_SLOT": "1"}, "settings", "did you mean SETPOINT_SLOTS", id="unknown setting"),
    ],
)
def test_what_fails_says_how_to_mend_it(here: World, more: dict[str, str], failed: str, says: str) -> None:
    done = run(here, "--check", "-o", "json", **more)

    assert done.returncode == 1
    found: list[dict[str, Any]] = json.loads(done.stdout)
    (broken,) = [finding for finding in found if not finding["ok"]]
    assert broken["name"] == failed
    assert says in f"{broken['said']} {broken['mend']}"
    assert "hidden-word" not in done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_the_probe_tells_whether_the_worker_answers(here: World, free_port: int) -> None:
    assert run(here, module="workers.probe", SETPOINT_METRICS_PORT=str(free_port)).returncode == 1
    here.start_worker(SETPOINT_METRICS_PORT=str(free_port))
    eventually(
        lambda: run(here, module="workers.probe", SETPOINT_METRICS_PORT=str(free_port)).returncode == 0, "a good probe"
    )
