"""A real worker process tells CloudWatch in its log what it tells Prometheus."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
from worker_world import World, exited, sqs_server, world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with sqs_server() as sqs_url, world(tmp_path, sqs_url) as made:
        yield made


def test_a_worker_tells_what_it_did_before_it_ends(here: World) -> None:
    attempt = here.submit("def main(ctx): return {}")
    process = here.start_worker(SETPOINT_METRICS_ENV="dev")
    assert here.report(attempt).outcome == "succeeded"
    process.send_signal(signal.SIGTERM)
    assert exited(process) == 0
    told = [json.loads(line) for line in here.worker_log().splitlines() if '"_aws"' in line]
    assert {(line["env"], line["pool"]) for line in told} == {("dev", "python")}
    assert sum(line.get("setpoint_worker_attempts_total", 0) for line in told) == 1
    (started,) = [line["setpoint_worker_start_seconds"] for line in told if "setpoint_worker_start_seconds" in line]
    assert started["Count"] == 1
