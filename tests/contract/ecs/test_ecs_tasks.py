"""Task definitions, RunTask, StopTask, ListTasks, DescribeTasks, as AWS answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from ecs_world import SLEEPER

if TYPE_CHECKING:
    from ecs_world import Cluster


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_a_task_runs_its_command_with_its_environment(cluster: Cluster) -> None:
    arn = cluster.run("sh", "-c", "echo hello $NAME; exit 3", environment=[{"name": "NAME", "value": "ecs"}])
    task = cluster.stopped(arn)

    assert cluster.log(arn) == "hello ecs\n"
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"
    assert task["containers"][0]["exitCode"] == 3
    assert task["desiredStatus"] == "STOPPED"
    assert task["createdAt"] <= task["startedAt"] <= task["stoppedAt"]


def test_overrides_change_command_and_environment(cluster: Cluster) -> None:
    arn = cluster.define("false", environment=[{"name": "A", "value": "1"}])
    override = {
        "name": "main",
        "command": ["sh", "-c", "echo $A"],
        "environment": [{"name": "A", "value": "2"}],
    }
    started = cluster.client.run_task(
        cluster=cluster.name, taskDefinition=arn, overrides={"containerOverrides": [override]}
    )
    task = started["tasks"][0]["taskArn"]

    assert cluster.stopped(task)["containers"][0]["exitCode"] == 0
    assert cluster.log(task) == "2\n"


def test_a_command_that_does_not_exist_fails_to_start(cluster: Cluster) -> None:
    task = cluster.stopped(cluster.run("no-such-program"))
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["containers"] == []
    assert "no-such-program" in task["stoppedReason"]


def test_a_stopped_task_gets_sigterm_and_keeps_the_reason(cluster: Cluster) -> None:
    arn = cluster.run("sh", "-c", "trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done")
    cluster.running(arn)
    cluster.client.stop_task(cluster=cluster.name, task=arn, reason="enough")
    task = cluster.stopped(arn)

    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")
    assert task["containers"][0]["exitCode"] == 0
    assert cluster.log(arn) == "bye\n"


def test_a_task_that_ignores_sigterm_is_killed_after_its_stop_timeout(cluster: Cluster) -> None:
    arn = cluster.run("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done", stopTimeout=1)
    cluster.running(arn)
    while "ready" not in cluster.log(arn):
        pass
    cluster.client.stop_task(cluster=cluster.name, task=arn)
    assert cluster.task(arn)["lastStatus"] == "STOPPING"
    task = cluster.stopped(arn)

    assert task["containers"][0]["exitCode"] == 137
    assert (task["stoppedAt"] - task["stoppingAt"]).total_seconds() >= 1


def test_stopping_twice_keeps_the_first_reason(cluster: Cluster) -> None:
    arn = cluster.run(*SLEEPER)
    for reason in ("first", "second"):
        cluster.client.stop_task(cluster=cluster.name, task=arn, reason=reason)
    assert cluster.stopped(arn)["stoppedReason"] == "first"


def test_waiters_of_tasks_work(cluster: Cluster) -> None:
    arn = cluster.run(*SLEEPER)
    config = {"Delay": 1, "MaxAttempts": 30}
    cluster.client.get_waiter("tasks_running").wait(cluster=cluster.name, tasks=[arn], WaiterConfig=config)
    cluster.client.stop_task(cluster=cluster.name, task=arn)
    cluster.client.get_waiter("tasks_stopped").wait(cluster=cluster.name, tasks=[arn], WaiterConfig=config)


def test_a_client_token_starts_a_task_once(cluster: Cluster) -> None:
    request = {"cluster": cluster.name, "taskDefinition": cluster.define(*SLEEPER), "clientToken": "token-1"}
    first = cluster.client.run_task(**request)["tasks"][0]["taskArn"]
    again = cluster.client.run_task(**request)["tasks"][0]["taskArn"]
    assert first == again
    assert len(cluster.tasks()) == 1

    with pytest.raises(ClientError) as error:
        cluster.client.run_task(**request, startedBy="another")
    assert code_of(error) == "ConflictException"
    assert dict(error.value.response)["resourceIds"] == [first]


def test_tasks_are_listed_by_what_started_them(cluster: Cluster) -> None:
    one = cluster.define(*SLEEPER, family="one")
    two = cluster.define("true", family="two")
    run: Any = cluster.client.run_task
    mine = run(cluster=cluster.name, taskDefinition=one, startedBy="me", count=2)["tasks"]
    ended = run(cluster=cluster.name, taskDefinition=two)["tasks"][0]["taskArn"]
    cluster.stopped(ended)

    arns = [task["taskArn"] for task in mine]
    assert cluster.tasks() == cluster.tasks(startedBy="me") == cluster.tasks(family=f"{cluster.name}-one") == arns
    assert cluster.tasks(desiredStatus="STOPPED") == [ended]
    assert cluster.tasks(startedBy="you") == []


def test_lists_come_in_pages(cluster: Cluster) -> None:
    arn = cluster.define(*SLEEPER)
    started = cluster.client.run_task(cluster=cluster.name, taskDefinition=arn, count=5)["tasks"]
    pages = cluster.client.get_paginator("list_tasks").paginate(cluster=cluster.name, PaginationConfig={"PageSize": 2})
    seen = [page["taskArns"] for page in pages]
    assert [len(page) for page in seen] == [2, 2, 1]
    assert [arn for page in seen for arn in page] == [task["taskArn"] for task in started]


def test_unknown_tasks_are_failures_not_errors(cluster: Cluster) -> None:
    response = cluster.client.describe_tasks(cluster=cluster.name, tasks=["missing"])
    assert response["tasks"] == []
    assert response["failures"] == [{"arn": "missing", "reason": "MISSING"}]


def test_definitions_have_revisions(cluster: Cluster) -> None:
    first = cluster.define("true")
    second = cluster.define("false", cpu=256)
    family = f"{cluster.name}-task"
    describe = cluster.client.describe_task_definition

    assert first.endswith(":1")
    assert second.endswith(":2")
    assert describe(taskDefinition=family)["taskDefinition"]["taskDefinitionArn"] == second
    assert describe(taskDefinition=f"{family}:1")["taskDefinition"]["taskDefinitionArn"] == first
    assert describe(taskDefinition=second)["taskDefinition"]["containerDefinitions"][0]["cpu"] == 256
    listed = cluster.client.list_task_definitions(familyPrefix=family, sort="DESC")
    assert listed["taskDefinitionArns"] == [second, first]


@pytest.mark.parametrize(
    ("operation", "request_", "code"),
    [
        pytest.param("list_tasks", {"cluster": "no"}, "ClusterNotFoundException", id="cluster"),
        pytest.param("run_task", {"taskDefinition": "no"}, "ClientException", id="definition"),
        pytest.param("stop_task", {"task": "no"}, "InvalidParameterException", id="task"),
        pytest.param("describe_tasks", {"tasks": []}, "InvalidParameterException", id="no tasks"),
        pytest.param("list_tasks", {"maxResults": 101}, "InvalidParameterException", id="page size"),
        pytest.param("list_tasks", {"nextToken": "x"}, "InvalidParameterException", id="page token"),
        pytest.param(
            "register_task_definition",
            {"family": "x", "containerDefinitions": []},
            "ClientException",
            id="no container",
        ),
        pytest.param(
            "list_attributes", {"targetType": "container-instance"}, "UnknownOperationException", id="operation"
        ),
    ],
)
def test_errors_have_the_codes_of_aws(cluster: Cluster, operation: str, request_: Any, code: str) -> None:
    with pytest.raises(ClientError) as error:
        getattr(cluster.client, operation)(**request_)
    assert code_of(error) == code


def test_clusters_are_described(cluster: Cluster) -> None:
    cluster.running(cluster.run(*SLEEPER))
    response = cluster.client.describe_clusters(clusters=[cluster.name, "missing"])
    assert response["clusters"][0]["runningTasksCount"] == 1
    assert response["failures"][0]["reason"] == "MISSING"
