"""Show tasks and services in the shapes of the ECS API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from controller.local.ecs.model import Rollout, Service, Status, StopCode, Task, TaskDefinition, cluster_arn

if TYPE_CHECKING:
    from controller.local.awsjson import JsonObject

Moment = Callable[[datetime], object]


# What a service is made with and shown as, beside what is known of it here.
SHOWN_AGAIN = frozenset(
    {
        "availabilityZoneRebalancing",
        "capacityProviderStrategy",
        "deploymentController",
        "enableECSManagedTags",
        "enableExecuteCommand",
        "healthCheckGracePeriodSeconds",
        "launchType",
        "loadBalancers",
        "networkConfiguration",
        "platformVersion",
        "propagateTags",
        "schedulingStrategy",
        "serviceRegistries",
    }
)
_WORDS = {Rollout.IN_PROGRESS: "in progress", Rollout.COMPLETED: "completed", Rollout.FAILED: "failed"}


def iso(moment: datetime) -> str:
    """Return a moment as events spell it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def present(fields: JsonObject) -> JsonObject:
    """Return the fields that have a value, as AWS leaves out the others."""
    return {name: value for name, value in fields.items() if value is not None}


def task_shape(task: Task, moment: Moment = datetime.timestamp) -> JsonObject:
    """Return a task as DescribeTasks does, or with another spelling of moments as events do."""

    def at(when: datetime | None) -> object:
        return None if when is None else moment(when)

    return present(
        {
            "taskArn": task.arn,
            "clusterArn": cluster_arn(task.cluster),
            "taskDefinitionArn": task.definition.arn,
            "group": task.group,
            "startedBy": task.started_by,
            "launchType": "FARGATE",
            "lastStatus": task.status,
            "desiredStatus": task.desired_status,
            "version": task.version,
            "createdAt": at(task.created_at),
            "pullStartedAt": at(task.started_at),
            "startedAt": at(task.started_at),
            "stoppingAt": at(task.stopping_at),
            "executionStoppedAt": at(task.stopped_at),
            "stoppedAt": at(task.stopped_at),
            "stopCode": task.stop_code,
            "healthStatus": task.health,
            "attachments": _attachments(task),
            "stoppedReason": task.stopped_reason,
            "containers": _containers(task),
            "overrides": {"containerOverrides": _overrides(task)},
        }
    )


def _containers(task: Task) -> list[JsonObject]:
    if task.stop_code is StopCode.FAILED_TO_START:
        return []
    container = {
        "containerArn": f"{task.arn.replace(':task/', ':container/')}/1",
        "taskArn": task.arn,
        "name": task.definition.container.name,
        "image": task.definition.container.image,
        "lastStatus": task.status,
        "exitCode": task.exit_code,
        "reason": task.container_reason,
        "healthStatus": task.health,
        "networkInterfaces": [{"privateIpv4Address": task.address}] if task.address else None,
    }
    return [present(container)]


def _attachments(task: Task) -> list[JsonObject] | None:
    if task.address is None:
        return None
    detail = {"name": "privateIPv4Address", "value": task.address}
    return [{"id": task.id, "type": "ElasticNetworkInterface", "status": "ATTACHED", "details": [detail]}]


def _overrides(task: Task) -> list[JsonObject]:
    environment = [{"name": name, "value": value} for name, value in task.overrides.environment.items()]
    if not task.overrides.command and not environment:
        return []
    override = {"name": task.definition.container.name, "environment": environment}
    return [{**override, **({"command": task.overrides.command} if task.overrides.command else {})}]


def definition_shape(definition: TaskDefinition) -> JsonObject:
    """Return a task definition as DescribeTaskDefinition does."""
    return {
        **{name: value for name, value in definition.body.items() if name != "tags"},
        "taskDefinitionArn": definition.arn,
        "revision": definition.revision,
        "status": "ACTIVE" if definition.active else "INACTIVE",
        "registeredAt": definition.registered_at.timestamp(),
    }


def service_shape(service: Service, tasks: Sequence[Task]) -> JsonObject:
    """Return a service with its unfinished tasks as DescribeServices does."""
    return {
        "launchType": "FARGATE",
        "schedulingStrategy": "REPLICA",
        **{name: value for name, value in service.said.items() if name in SHOWN_AGAIN},
        "serviceArn": service.arn,
        "serviceName": service.name,
        "clusterArn": cluster_arn(service.cluster),
        "status": _service_status(service, tasks),
        "taskDefinition": service.definition.arn,
        "desiredCount": service.desired_count,
        **_counts(tasks),
        "deploymentConfiguration": {
            **msgspec.to_builtins(service.configuration),
            **(service.said.get("deploymentConfiguration") or {}),
        },
        "deployments": _deployments(service, tasks),
        "events": [
            {"id": f"{service.name}-{when.timestamp()}", "createdAt": when.timestamp(), "message": message}
            for when, message in service.messages
        ],
        "createdAt": service.created_at.timestamp(),
    }


def _service_status(service: Service, tasks: Sequence[Task]) -> str:
    if service.active:
        return "ACTIVE"
    return "DRAINING" if tasks else "INACTIVE"


def _counts(tasks: Sequence[Task]) -> dict[str, int]:
    return {
        "runningCount": sum(task.status is Status.RUNNING for task in tasks),
        "pendingCount": sum(task.status is Status.PENDING for task in tasks),
    }


def _deployments(service: Service, tasks: Sequence[Task]) -> list[JsonObject]:
    """Return the wanted deployment and those of which tasks are left."""
    of: dict[str, list[Task]] = {service.deployment: []}
    for task in tasks:
        of.setdefault(task.started_by or "", []).append(task)
    counts = _counts(of[service.deployment])
    given_up = dict(service.given_up)
    primary: dict[str, Any] = {
        "id": service.deployment,
        "status": "PRIMARY" if service.active else "INACTIVE",
        "taskDefinition": service.definition.arn,
        "desiredCount": service.desired_count,
        **counts,
        "failedTasks": service.failed_tasks,
        "rolloutState": service.rollout,
        "rolloutStateReason": given_up.get(
            service.deployment, f"ECS deployment {service.deployment} {_WORDS[service.rollout]}."
        ),
        "createdAt": service.deployed_at.timestamp(),
        "updatedAt": service.deployed_at.timestamp(),
    }
    older = [
        {
            "id": deployment,
            "status": "ACTIVE",
            "taskDefinition": left[0].definition.arn,
            "desiredCount": 0,
            **_counts(left),
            "rolloutState": "FAILED" if deployment in given_up else "COMPLETED",
            "rolloutStateReason": given_up.get(deployment, f"ECS deployment {deployment} completed."),
            "createdAt": left[0].created_at.timestamp(),
            "updatedAt": left[0].created_at.timestamp(),
        }
        for deployment, left in of.items()
        if deployment != service.deployment
    ]
    return [primary, *older]
