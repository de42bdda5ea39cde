"""Deployments: health checks decide what counts, and the circuit breaker takes the last one that completed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ecs_world import SLEEPER, Cluster, EcsProcess, until

if TYPE_CHECKING:
    from pathlib import Path

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


def healthy(path: Path, **more: Any) -> dict[str, Any]:
    """Return a health check that passes while a file is there."""
    return {
        "healthCheck": {"command": ["CMD-SHELL", f"test -e {path}"], "interval": 5, "retries": 1, "timeout": 5, **more}
    }


def deployment(cluster: Cluster, number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = cluster.service()["deployments"][number]
    return found


def says(cluster: Cluster, words: str) -> bool:
    return any(words in event["message"] for event in cluster.service()["events"])


def test_a_task_counts_once_its_health_check_passes(cluster: Cluster, tmp_path: Path) -> None:
    cluster.serve(1, *SLEEPER, **healthy(tmp_path / "well", startPeriod=60))
    (arn,) = until(lambda: cluster.tasks(serviceName="web"), lambda tasks: len(tasks) == 1)
    cluster.running(arn)
    assert cluster.task(arn)["healthStatus"] == "UNKNOWN"
    assert deployment(cluster)["rolloutState"] == "IN_PROGRESS"
    (tmp_path / "well").touch()
    until(lambda: cluster.task(arn)["healthStatus"], lambda status: status == "HEALTHY")
    until(lambda: deployment(cluster)["rolloutState"], lambda state: state == "COMPLETED")
    assert says(cluster, "has reached a steady state.")


def test_a_task_that_falls_ill_is_replaced(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "well").touch()
    cluster.serve(1, *SLEEPER, **healthy(tmp_path / "well", interval=1))
    (arn,) = until(lambda: cluster.tasks(serviceName="web"), lambda tasks: len(tasks) == 1)
    until(lambda: cluster.task(arn)["healthStatus"], lambda status: status == "HEALTHY")
    (tmp_path / "well").unlink()
    assert cluster.stopped(arn)["stoppedReason"] == "Task failed container health checks"
    (tmp_path / "well").touch()
    assert arn not in until(lambda: cluster.tasks(serviceName="web"), lambda tasks: len(tasks) == 1)


def test_old_tasks_stay_until_new_ones_are_healthy(cluster: Cluster, tmp_path: Path) -> None:
    old = cluster.serve(1, *SLEEPER)
    (first,) = cluster.stable(1)
    new = cluster.define(*SLEEPER, **healthy(tmp_path / "well", startPeriod=60))
    cluster.update(taskDefinition=new)
    until(lambda: cluster.tasks(serviceName="web"), lambda tasks: len(tasks) == 2)
    assert cluster.task(first)["lastStatus"] == "RUNNING"
    assert [d["taskDefinition"] for d in cluster.service()["deployments"]] == [new, old]
    (tmp_path / "well").touch()
    cluster.stopped(first)
    assert first not in cluster.stable(1)


def test_a_deployment_that_starts_nothing_is_rolled_back(cluster: Cluster) -> None:
    good = cluster.define(*SLEEPER)
    cluster.client.create_service(
        cluster=cluster.name,
        serviceName="web",
        taskDefinition=good,
        desiredCount=1,
        deploymentConfiguration=BREAKER,
    )
    (first,) = cluster.stable(1)
    until(lambda: deployment(cluster)["rolloutState"], lambda state: state == "COMPLETED")
    bad = cluster.define("false")
    cluster.update(taskDefinition=bad)
    failed = deployment(cluster)["id"]
    until(lambda: deployment(cluster)["id"], lambda id_: id_ != failed)
    assert deployment(cluster)["taskDefinition"] == good
    assert says(cluster, f"(deployment {failed}) deployment failed: tasks failed to start.")
    assert says(cluster, f"rolling back to deployment {deployment(cluster)['id']}.")
    until(lambda: deployment(cluster)["rolloutState"], lambda state: state == "COMPLETED")
    assert (
        cluster.service()["deploymentConfiguration"]["deploymentCircuitBreaker"] == BREAKER["deploymentCircuitBreaker"]
    )
    assert cluster.task(first)["lastStatus"] in {"RUNNING", "STOPPED"}


def test_without_rollback_a_failed_deployment_starts_no_more(cluster: Cluster) -> None:
    bad = cluster.define("false")
    cluster.client.create_service(
        cluster=cluster.name,
        serviceName="web",
        taskDefinition=bad,
        desiredCount=1,
        deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": False}},
    )
    until(lambda: deployment(cluster)["rolloutState"], lambda state: state == "FAILED")
    assert deployment(cluster)["failedTasks"] == 3
    assert cluster.tasks(serviceName="web") == []


def test_variables_and_addresses_of_this_machine(tmp_path: Path) -> None:
    """What AWS gives each task, a name that resolves and an address, comes from the machine here."""
    variables = tmp_path / "environment.json"
    variables.write_text(json.dumps({"*": {"EVERYWHERE": "1"}, "default-task": {"URL": "http://here"}}))
    server = EcsProcess(tmp_path / "ecs", "--stop-grace=1", f"--environment={variables}", "--task-addresses")
    try:
        cluster = Cluster(server.client(), "default", server)
        given = [{"name": "URL", "value": "https://aws"}, {"name": "SETPOINT_HOST", "value": "0.0.0.0"}]
        arns = [cluster.run("sh", "-c", "echo $EVERYWHERE $URL $SETPOINT_HOST", environment=given) for _ in range(2)]
        addresses = [
            cluster.stopped(arn)["containers"][0]["networkInterfaces"][0]["privateIpv4Address"] for arn in arns
        ]
        assert [cluster.log(arn).split() for arn in arns] == [["1", "http://here", a] for a in addresses]
        assert len(set(addresses)) == 2
    finally:
        server.stop()


def test_a_service_is_shown_as_it_was_made(cluster: Cluster) -> None:
    said = {
        "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}],
        "networkConfiguration": {
            "awsvpcConfiguration": {"subnets": ["s"], "securityGroups": ["g"], "assignPublicIp": "DISABLED"}
        },
        "enableECSManagedTags": True,
        "propagateTags": "SERVICE",
    }
    cluster.client.create_service(
        cluster=cluster.name,
        serviceName="web",
        taskDefinition=cluster.define(*SLEEPER),
        desiredCount=0,
        tags=[{"key": "a", "value": "1"}],
        **said,
    )
    shown = cluster.service()
    assert {name: shown[name] for name in said} == said
    arn = shown["serviceArn"]
    cluster.client.tag_resource(resourceArn=arn, tags=[{"key": "b", "value": "2"}])
    cluster.client.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert cluster.client.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "b", "value": "2"}]
