"""A real Prometheus takes the page's example as its configuration and reads a dispatcher's and a worker's metrics."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client import start_http_server

from controller.runtime.metrics import INSTRUMENTS
from crds.metrics_table import PAGE
from tests.metrics_lint import tool
from workers.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prometheus_client import CollectorRegistry

WITHIN = 60.0
PROMETHEUS = tool("prometheus")
pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="needs prometheus: apt-get install prometheus")


@contextmanager
def served(registry: CollectorRegistry) -> Iterator[int]:
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def prometheus(folder: Path, config: dict[str, Any]) -> Iterator[str]:
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    log = folder / "log"
    # Prometheus does not tell which port it got for 0.
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    with log.open("wb") as out:
        process = subprocess.Popen([str(PROMETHEUS), *arguments], stdout=out, stderr=out)
    try:
        ends = time.monotonic() + WITHIN
        while not ready(f"http://{address}"):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < ends, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(WITHIN)


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=10):
            return True
    except OSError:
        return False


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


def test_prometheus_reads_both_programs(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    config = yaml.safe_load(example)
    with served(INSTRUMENTS.registry) as dispatcher, served(Metrics().registry) as worker:
        for job, port in zip(config["scrape_configs"], (dispatcher, worker), strict=True):
            job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
        config["global"] = {"scrape_interval": "1s"}
        with prometheus(tmp_path, config) as url:
            ends = time.monotonic() + WITHIN
            while len(up := ask(f"{url}/api/v1/query?query=up==1")["result"]) < 2:
                assert time.monotonic() < ends, ask(f"{url}/api/v1/targets")
                time.sleep(0.2)
            assert {one["metric"]["job"] for one in up} == {"setpoint-dispatcher", "setpoint-worker"}
            assert ask(f"{url}/api/v1/query?query=setpoint_runs_failed_total")["result"]
            assert ask(f"{url}/api/v1/query?query=setpoint_worker_slots")["result"]
