"""`setpoint drill` against a whole system: each fault is made, survived and told; nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from e2e_system import COMMAND, PATIENCE, Up, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("drill"), pytest.mark.timeout(360)]

POOLS = """
apiVersion: setpoint.dev/v1
kind: WorkerPool
metadata: {name: python}
spec: {runtime: python, slots: 2, minTasks: 1, maxTasks: 2}
---
apiVersion: setpoint.dev/v1
kind: WorkerPool
metadata: {name: solo}
spec: {runtime: python, slots: 2, minTasks: 1, maxTasks: 1}
---
apiVersion: setpoint.dev/v1
kind: WorkerPool
metadata: {name: wide}
spec: {runtime: python, slots: 1, minTasks: 1, maxTasks: 3}
"""
DRILL_WITHIN = 300.0


class Drills:
    """Runs the command where it finds the contexts of a system."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.folder = up.folder / "beside"
        (self.folder / ".setpoint").mkdir(parents=True)
        local = json.loads((up.data / "config.json").read_text())["contexts"]["local"]
        self.ecs = local["aws"]["endpoints"]["ecs"]
        contexts = {
            "local": local,
            "dev": {**local, "environment": "dev"},
            "blue": {**local, "environment": "production"},
        }
        (self.folder / ".setpoint/config.json").write_text(json.dumps({"current": "local", "contexts": contexts}))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        clean = {n: v for n, v in os.environ.items() if not n.startswith("SETPOINT_")}
        return subprocess.Popen(
            [str(COMMAND), "drill", *arguments],
            cwd=self.folder,
            env={**clean, "TMPDIR": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=DRILL_WITHIN)
        finally:
            process.kill()
        return process.returncode, out, err

    def passed(self, *arguments: str) -> dict[str, Any]:
        """Run a drill that must pass; return its only result."""
        code, out, err = self.run(*arguments, "--tasks", "8", "-o", "json")
        assert code == 0, err
        found = json.loads(out)
        assert found["passed"]
        drill: dict[str, Any] = found["drills"][0]
        counts = drill["counts"]
        for name in ("tasksLost", "endedTwice", "startedTwice", "outputsLost", "outputsDoubled"):
            assert counts[name] == 0, name
        assert counts["tasks"] == 9
        assert counts["affected"] > 0
        assert self.dags() == []
        return drill

    def fault(self, order: dict[str, Any]) -> None:
        """Order a fault of the local ECS."""
        body = json.dumps(order).encode()
        urllib.request.urlopen(f"{self.ecs}/_faults", body, timeout=10).close()

    def dags(self) -> list[str]:
        return [dag["metadata"]["name"] for dag in self.up.objects("dags")]


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drills]:
    folder = tmp_path_factory.mktemp("drills")
    (folder / "given").mkdir()
    (folder / "given/pools.yaml").write_text(POOLS)
    up = Up(folder, folder / "given")
    try:
        up.start()
        eventually("the pools are applied", lambda: len(up.objects("workerpools")) == 3)
        yield Drills(up.applied())
        assert up.stop() == 0
        assert up.leftovers() == []
    finally:
        up.clear()


def test_kill_worker(drills: Drills) -> None:
    found = drills.passed("kill-worker")
    assert "WorkerStopped" in found["toldBy"]
    assert found["counts"]["attemptsLost"] == found["counts"]["retried"] > 0
    assert 0 <= found["detectionSeconds"] <= found["recoverySeconds"]


def test_stop_controller(drills: Drills) -> None:
    found = drills.passed("stop-controller")
    assert found["toldBy"][0].startswith("leadership: term")
    assert found["counts"]["attemptsLost"] == 0


def test_spot_notice(drills: Drills) -> None:
    found = drills.passed("spot-notice")
    assert found["what"].startswith("spot notice")
    assert {"Evicted", "SpotInterruption"} & set(found["toldBy"])


@pytest.mark.slow
def test_purge_queue(drills: Drills) -> None:
    """A lost message is only known as such after the queue was empty for a minute.

    No other test uses this pool, so that it has one worker, and the messages for two more wait until they are up.
    """
    found = drills.passed("purge-queue", "--pool", "wide")
    assert "DeliveryLost" in found["toldBy"]
    assert found["counts"]["attemptsLost"] == 0


@pytest.mark.parametrize("fault", ["kill-worker", "spot-notice"])
def test_as_on_aws(drills: Drills, fault: str) -> None:
    """An environment that is not local is hit by calls to AWS alone."""
    found = drills.passed(fault, "--context", "dev")
    assert found["what"].startswith("StopTask")


def test_production_is_refused(drills: Drills) -> None:
    for arguments in (("--context", "blue"), ("--context", "blue", "--force")):
        code, out, err = drills.run("kill-worker", *arguments)
        assert (code, out) == (4, "")
        assert "production is production" in err
    assert drills.dags() == []


def test_ctrl_c_leaves_nothing(drills: Drills) -> None:
    process = drills.start("kill-worker", "--tasks", "30")
    try:
        eventually("the drill has its run", lambda: drills.up.objects("dagruns"))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE * 2)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "cancelled and its DAG deleted" in out
    assert drills.dags() == []


def test_no_recovery(drills: Drills) -> None:
    """Without a worker that could start, the drill says what did not happen, and keeps its work for a look."""
    drills.fault({"startFailures": 1_000})
    try:
        code, out, err = drills.run("kill-worker", "--pool", "solo", "--tasks", "3", "--timeout", "12s")
    finally:
        drills.fault({"startFailures": 0})
    assert code == 1, err
    assert "have not ended in time; `setpoint explain run/setpoint-drill" in err
    assert "kept for a look, suspended" in out
    drills.up.client.request(
        "DELETE", drills.up.client.path("dags", "setpoint-drill"), {"propagationPolicy": "Foreground"}
    )
    eventually("the work is gone", lambda: drills.dags() == [])


def test_an_unknown_pool(drills: Drills) -> None:
    code, _, err = drills.run("kill-worker", "--pool", "nobody")
    assert code == 2
    assert "there is no pool 'nobody' (pools: python, solo, wide)" in err


def test_your_own_dag_must_run(drills: Drills) -> None:
    code, _, err = drills.run("kill-worker", "--dag", "nobody")
    assert code != 0
    assert "no run of dag/nobody is under way" in err
