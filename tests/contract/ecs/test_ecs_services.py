"""Services keep their count, spare what is protected and roll to new definitions."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from botocore.exceptions import ClientError
from ecs_world import SLEEPER, EcsProcess, until

if TYPE_CHECKING:
    from pathlib import Path

    from ecs_world import Cluster

REPORT_PID = ("sh", "-c", "echo $$; exec sleep 600")
REPORT_AGENT = ("sh", "-c", "echo $ECS_AGENT_URI $ECS_CONTAINER_METADATA_URI_V4; exec sleep 600")


def protect(cluster: Cluster, *arns: str, enabled: bool = True) -> Any:
    return cluster.client.update_task_protection(cluster=cluster.name, tasks=list(arns), protectionEnabled=enabled)


def words(cluster: Cluster, arn: str) -> list[str]:
    return until(lambda: cluster.log(arn).split(), bool)


def test_a_service_starts_grows_and_shrinks(cluster: Cluster) -> None:
    cluster.serve(1)
    cluster.stable(1)
    cluster.update(desiredCount=3)
    cluster.stable(3)
    cluster.update(desiredCount=0)
    assert cluster.stable(0) == []


def test_the_waiter_for_stable_services_works(cluster: Cluster) -> None:
    cluster.serve(2)
    cluster.client.get_waiter("services_stable").wait(
        cluster=cluster.name, services=["web"], WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )


def test_a_killed_task_is_replaced(cluster: Cluster) -> None:
    cluster.serve(1, *REPORT_PID)
    [first] = cluster.stable(1)
    os.kill(int(words(cluster, first)[0]), signal.SIGKILL)

    task = cluster.stopped(first)
    [second] = cluster.stable(1)

    assert second != first
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["containers"][0]["exitCode"] == 137


def test_scale_in_takes_the_unprotected(cluster: Cluster) -> None:
    cluster.serve(3)
    first, second, third = cluster.stable(3)
    assert protect(cluster, second)["protectedTasks"][0]["protectionEnabled"]
    cluster.update(desiredCount=1)
    assert cluster.stable(1) == [second]
    assert cluster.stopped(first)["stopCode"] == cluster.stopped(third)["stopCode"] == "ServiceSchedulerInitiated"


def test_a_protected_task_survives_scale_in_until_its_protection_ends(cluster: Cluster) -> None:
    cluster.serve(2)
    both = cluster.stable(2)
    protect(cluster, *both)
    cluster.update(desiredCount=0)
    assert cluster.service()["runningCount"] == 2

    protect(cluster, *both, enabled=False)
    cluster.stable(0)


def test_a_new_definition_rolls_without_a_gap(cluster: Cluster) -> None:
    cluster.serve(2)
    old = set(cluster.stable(2))
    cluster.update(taskDefinition=cluster.define("sleep", "601"))
    least = 2

    def look() -> dict[str, Any]:
        nonlocal least
        service = cluster.service()
        least = min(least, service["runningCount"])
        return service

    until(look, lambda service: len(service["deployments"]) == 1)
    new = cluster.stable(2)
    assert least == 2
    assert not old & set(new)
    assert cluster.task(new[0])["taskDefinitionArn"].endswith(":2")


def test_a_protected_task_survives_a_deployment(cluster: Cluster) -> None:
    cluster.serve(1)
    [old] = cluster.stable(1)
    protect(cluster, old)
    cluster.update(forceNewDeployment=True)
    until(cluster.service, lambda service: service["runningCount"] == 2)
    [primary, active] = cluster.service()["deployments"]
    assert (primary["rolloutState"], active["status"]) == ("IN_PROGRESS", "ACTIVE")

    protect(cluster, old, enabled=False)
    cluster.stable(1)
    assert cluster.stopped(old)["stopCode"] == "ServiceSchedulerInitiated"


def test_a_release_that_crashes_replaces_nothing(cluster: Cluster) -> None:
    cluster.serve(1)
    [old] = cluster.stable(1)
    cluster.update(taskDefinition=cluster.define("false"))
    until(cluster.service, lambda service: service["deployments"][0]["failedTasks"] >= 3)
    assert cluster.task(old)["lastStatus"] == "RUNNING"
    assert protect(cluster, old)["failures"][0]["reason"] == "DEPLOYMENT_BLOCKED"

    cluster.update(taskDefinition=cluster.define("sleep", "601"))
    assert cluster.stable(1) != [old]


def test_protection_needs_a_task_of_a_service(cluster: Cluster) -> None:
    alone = cluster.run(*SLEEPER)
    [failure] = protect(cluster, alone)["failures"]
    assert (failure["arn"], failure["reason"]) == (alone, "TASK_NOT_VALID")


def test_a_task_protects_itself_through_its_agent(cluster: Cluster) -> None:
    cluster.serve(1, *REPORT_AGENT)
    [arn] = cluster.stable(1)
    agent, metadata = words(cluster, arn)
    state = f"{agent}/task-protection/v1/state"

    assert http(state)["protection"] == {"TaskArn": arn, "ProtectionEnabled": False, "ExpirationDate": None}
    answer = http(state, {"ProtectionEnabled": True, "ExpiresInMinutes": 15})
    assert answer["protection"]["ProtectionEnabled"]
    assert cluster.client.get_task_protection(cluster=cluster.name, tasks=[arn])["protectedTasks"][0][
        "protectionEnabled"
    ]
    about = http(f"{metadata}/task")
    assert (about["TaskARN"], about["ServiceName"]) == (arn, "web")
    assert about["Cluster"].endswith(f"/{cluster.name}")


def http(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, method="PUT" if body else "GET")
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def test_a_service_is_deleted_when_it_wants_nothing(cluster: Cluster) -> None:
    cluster.serve(1)
    cluster.stable(1)
    with pytest.raises(ClientError, match="scaled above 0"):
        cluster.client.delete_service(cluster=cluster.name, service="web")
    cluster.client.delete_service(cluster=cluster.name, service="web", force=True)
    cluster.client.get_waiter("services_inactive").wait(
        cluster=cluster.name, services=["web"], WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    assert cluster.client.list_services(cluster=cluster.name)["serviceArns"] == []
    with pytest.raises(ClientError) as error:
        cluster.update(desiredCount=1)
    assert error.value.response["Error"]["Code"] == "ServiceNotActiveException"


def test_services_of_the_file_run_from_the_start(tmp_path: Path) -> None:
    container = {"name": "main", "command": list(SLEEPER)}
    declared = {
        "cluster": "setpoint",
        "taskDefinitions": [{"family": "polars", "containerDefinitions": [container]}],
        "services": [{"serviceName": "polars", "taskDefinition": "polars", "desiredCount": 2}],
    }
    server = EcsProcess(tmp_path, declared=declared)
    client = server.client()
    described = until(
        lambda: client.describe_services(cluster="setpoint", services=["polars"])["services"][0],
        lambda service: service["runningCount"] == 2,
    )
    assert described["desiredCount"] == 2
    children = psutil.Process(server.process.pid).children()

    assert server.stop() == 0
    assert not any(child.is_running() for child in children)
