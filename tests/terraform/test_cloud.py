"""The cloud of these tests: it ends when it is told to, and with whoever started it; its parts can be our own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.terraform.cloud import Backend, LocalCloud
from tests.terraform.cloud.account import ACCOUNT, REGION
from tests.terraform.cloud.terraform import ROOT
from tests.terraform.tf_applied import client

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("moto", reason="no moto: install requirements-moto.lock")
PATIENCE_SECONDS = 30.0
STARTER = """
import sys, time
from pathlib import Path
from tests.terraform.cloud import LocalCloud
cloud = LocalCloud.start(Path(sys.argv[1]), ecs="ours", sqs="ours")
print(*cloud.pids(), flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_stops(tmp_path: Path) -> None:
    with LocalCloud.start(tmp_path) as cloud:
        pids = cloud.pids()
        assert client(cloud, "sts").get_caller_identity()["Account"] == ACCOUNT
        assert not any(gone(pid) for pid in pids)
    assert all(gone(pid) for pid in pids)


def test_it_dies_with_its_starter(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    pids = [int(word) for word in starter.stdout.readline().split()]
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    assert len(pids) == 3
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < deadline, "a server outlived its starter"
        time.sleep(0.05)


def test_ecs_and_sqs_can_be_our_own(tmp_path: Path) -> None:
    with LocalCloud.start(tmp_path, ecs=Backend.OURS, sqs=Backend.OURS) as cloud:
        cluster = client(cloud, "ecs").create_cluster(clusterName="ours")["cluster"]
        assert cluster["clusterArn"] == f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/ours"
        client(cloud, "sqs").create_queue(QueueName="ours")
        assert len(cloud.pids()) == 3

        other = {**cloud.environment, "AWS_ENDPOINT_URL_ECS": cloud.url, "AWS_ENDPOINT_URL_SQS": cloud.url}
        moto = LocalCloud(tmp_path, cloud.url, other)
        assert client(moto, "ecs").list_clusters()["clusterArns"] == []
        assert "QueueUrls" not in client(moto, "sqs").list_queues()


def test_a_servers_last_words_are_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no-such-option"):
        LocalCloud.start(tmp_path, ecs=Backend.OURS, ecs_options=["--no-such-option"])
