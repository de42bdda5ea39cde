"""Deaths, events, and the faults that tests order."""

from __future__ import annotations

import itertools
import json
import os
import queue
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from botocore.exceptions import ClientError
from ecs_world import PATIENCE_SECONDS, SLEEPER, Cluster, EcsProcess, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAMILY_OF_THREE = ("sh", "-c", "echo $$; sleep 601 & echo $!; wait")


@pytest.fixture
def events() -> Iterator[tuple[str, queue.Queue[dict[str, Any]]]]:
    received: queue.Queue[dict[str, Any]] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.put({"authorization": self.headers["authorization"], **json.loads(body)})
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/events", received
    server.shutdown()
    server.server_close()
    thread.join()


def pids(cluster: Cluster, arn: str, count: int) -> list[psutil.Process]:
    lines = until(lambda: cluster.log(arn).split(), lambda lines: len(lines) == count)
    return [psutil.Process(int(line)) for line in lines]


def all_end(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)
    assert not alive


def test_a_killed_server_takes_tasks_and_their_children_along(own_cluster: Cluster) -> None:
    arn = own_cluster.run(*FAMILY_OF_THREE)
    own_cluster.running(arn)
    processes = pids(own_cluster, arn, 2)
    own_cluster.server.kill()
    all_end(processes)


def test_a_server_ends_with_its_lifeline(own_cluster: Cluster) -> None:
    arn = own_cluster.run(*FAMILY_OF_THREE)
    own_cluster.running(arn)
    processes = pids(own_cluster, arn, 2)
    own_cluster.server.close()
    assert own_cluster.server.process.wait(PATIENCE_SECONDS) == 1
    all_end(processes)


def test_what_a_dead_task_leaves_behind_is_killed(own_cluster: Cluster) -> None:
    arn = own_cluster.run(*FAMILY_OF_THREE)
    own_cluster.running(arn)
    shell, child = pids(own_cluster, arn, 2)
    shell.kill()
    own_cluster.stopped(arn)
    all_end([child])


def test_each_change_of_status_is_an_event(events: tuple[str, queue.Queue[dict[str, Any]]], tmp_path: Path) -> None:
    url, received = events
    token = tmp_path / "token"
    token.write_text("t0ken\n")
    server = EcsProcess(tmp_path / "ecs", f"--events-url={url}", f"--events-token-file={token}")
    cluster = Cluster(server.client(), "default", server)
    cluster.serve(1, "sh", "-c", "echo $$; exec sleep 600")
    [arn] = cluster.stable(1)
    [process] = pids(cluster, arn, 1)
    os.kill(process.pid, signal.SIGKILL)

    seen = [received.get(timeout=PATIENCE_SECONDS) for _ in range(5)]
    server.stop()

    assert {event["authorization"] for event in seen} == {"Bearer t0ken"}
    assert {event["detail-type"] for event in seen} == {"ECS Task State Change"}
    of_first = [event["detail"] for event in seen if event["resources"] == [arn]]
    assert [detail["lastStatus"] for detail in of_first] == ["PENDING", "RUNNING", "STOPPED"]
    assert of_first[-1]["containers"][0]["exitCode"] == 137
    assert of_first[-1]["stopCode"] == "EssentialContainerExited"
    assert of_first[-1]["group"] == "service:web"
    assert [event["detail"]["lastStatus"] for event in seen if event["resources"] != [arn]] == [
        "PENDING",
        "RUNNING",
    ]


def test_events_that_nobody_takes_hold_nothing_up(tmp_path: Path) -> None:
    server = EcsProcess(tmp_path, "--events-url=http://127.0.0.1:9/nobody")
    cluster = Cluster(server.client(), "default", server)
    cluster.stopped(cluster.run("true"))
    assert server.stop() == 0


def test_a_start_failure_leaves_a_task_without_containers(own_cluster: Cluster) -> None:
    own_cluster.server.faults(startFailures=1)
    task = own_cluster.stopped(own_cluster.run(*SLEEPER))
    assert (task["stopCode"], task["containers"]) == ("TaskFailedToStart", [])
    own_cluster.running(own_cluster.run(*SLEEPER))


def test_a_full_cluster_refuses_a_placement(own_cluster: Cluster) -> None:
    own_cluster.server.faults(capacityFailures=1)
    arn = own_cluster.define(*SLEEPER)
    response = own_cluster.client.run_task(taskDefinition=arn, count=2)
    assert len(response["tasks"]) == 1
    assert response["failures"] == [{"arn": arn, "reason": "RESOURCE:MEMORY"}]


def test_a_service_waits_for_capacity(own_cluster: Cluster) -> None:
    own_cluster.server.faults(capacityFailures=2)
    own_cluster.serve(1)
    own_cluster.stable(1)
    assert any("unable to place" in event["message"] for event in own_cluster.service()["events"])


def test_reads_may_lag_behind(own_cluster: Cluster) -> None:
    own_cluster.server.faults(staleMilliseconds=1_000)
    arn = own_cluster.run(*SLEEPER)
    response = own_cluster.client.describe_tasks(tasks=[arn])
    assert response["failures"] == [{"arn": arn, "reason": "MISSING"}]
    assert own_cluster.tasks() == []
    until(own_cluster.tasks, lambda arns: arns == [arn])


def test_every_other_call_is_throttled(own_cluster: Cluster) -> None:
    own_cluster.server.faults(throttleEvery=2)
    own_cluster.tasks()
    with pytest.raises(ClientError) as error:
        own_cluster.tasks()
    assert error.value.response["Error"]["Code"] == "ThrottlingException"
    own_cluster.server.client(retries=3).list_tasks()


def test_a_spot_notice_stops_a_task_and_its_service_replaces_it(own_cluster: Cluster) -> None:
    own_cluster.serve(1)
    [arn] = own_cluster.stable(1)
    own_cluster.server.faults(interrupt=[arn.rsplit("/", 1)[1]])
    assert own_cluster.stopped(arn)["stopCode"] == "SpotInterruption"
    assert own_cluster.stable(1) != [arn]


def test_a_task_out_of_memory_says_so(own_cluster: Cluster) -> None:
    arn = own_cluster.run(*SLEEPER)
    own_cluster.running(arn)
    own_cluster.server.faults(exhaustMemory=[arn.rsplit("/", 1)[1]])
    [container] = own_cluster.stopped(arn)["containers"]
    assert container["exitCode"] == 137
    assert container["reason"].startswith("OutOfMemoryError")


def test_a_crash_loop_slows_down(own_cluster: Cluster) -> None:
    own_cluster.serve(1, "false")
    until(own_cluster.service, lambda service: service["deployments"][0]["failedTasks"] >= 4)
    ended = [own_cluster.task(arn) for arn in own_cluster.tasks(desiredStatus="STOPPED")[:4]]
    waits = [
        (later["createdAt"] - earlier["stoppedAt"]).total_seconds() for earlier, later in itertools.pairwise(ended)
    ]
    assert waits[1] >= 0.5
    assert waits[2] >= 1.0
