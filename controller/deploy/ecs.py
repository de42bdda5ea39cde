"""ECS as a deployment needs it: definitions, one-off tasks, services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from controller.aws.errors import calling, error_code
from controller.deploy.definitions import HASH_TAG, Definition, registered
from controller.deploy.step import StepFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.type_defs import ContainerOverrideTypeDef, TaskOverrideTypeDef

DESCRIBE_LIMIT = 100
"""The most tasks that one DescribeTasks call takes."""
EVENTS_SHOWN = 5
_NO_SERVICE = frozenset({"ServiceNotFoundException", "ServiceNotActiveException", "ClusterNotFoundException"})


@dataclass(frozen=True, slots=True)
class Registered:
    """A definition that ECS holds."""

    arn: str
    definition: Definition
    hash: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """One deployment of a service."""

    id: str
    definition: str
    primary: bool
    desired: int
    running: int
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service as ECS describes it."""

    definition: str
    desired: int
    rollouts: tuple[Rollout, ...]
    events: tuple[str, ...]

    def rollout(self, id_: str) -> Rollout | None:
        """Return one of its deployments, None if ECS no longer lists it."""
        return next((rollout for rollout in self.rollouts if rollout.id == id_), None)

    @property
    def primary(self) -> Rollout | None:
        """Return the deployment that ECS moves towards."""
        return next((rollout for rollout in self.rollouts if rollout.primary), None)


@dataclass(frozen=True, slots=True)
class TaskState:
    """A task as ECS describes it."""

    arn: str
    status: str
    health: str
    exit_code: int | None
    reason: str

    @property
    def id(self) -> str:
        """Return the last part of the ARN."""
        return self.arn.rsplit("/", 1)[-1]

    @property
    def stopped(self) -> bool:
        """Tell whether it has ended."""
        return self.status == "STOPPED"


@dataclass(frozen=True, slots=True)
class OneOff:
    """A task to run once."""

    definition: str
    container: str
    command: Sequence[str]
    """What it runs instead of the definition's command; empty: that command."""
    security_group: str
    token: str
    """The same token starts the same task again: none."""
    started_by: str


class Ecs:
    """ECS by boto3, in one cluster and its subnets."""

    def __init__(self, client: ECSClient, cluster: str, subnets: Sequence[str]) -> None:
        self._client = client
        self._cluster = cluster
        self._subnets = list(subnets)

    def describe(self, arn: str) -> Registered:
        """Return a definition by ARN, or a family's newest by its name."""
        with calling("ecs", "DescribeTaskDefinition"):
            answer = self._client.describe_task_definition(taskDefinition=arn, include=["TAGS"])
        definition = registered(answer["taskDefinition"])
        tags = {str(tag.get("key")): str(tag.get("value")) for tag in answer.get("tags", [])}
        return Registered(
            answer["taskDefinition"]["taskDefinitionArn"], definition, tags.get(HASH_TAG, definition.hash)
        )

    def register(self, definition: Definition, tags: Mapping[str, str]) -> str:
        """Register a definition under its hash and return the ARN."""
        marks = {**tags, HASH_TAG: definition.hash}
        with calling("ecs", "RegisterTaskDefinition"):
            answer = self._client.register_task_definition(
                **definition.body, tags=[{"key": key, "value": value} for key, value in sorted(marks.items())]
            )
        return answer["taskDefinition"]["taskDefinitionArn"]

    def service(self, name: str) -> ServiceState:
        """Return a service; raise StepFailed if Terraform has made none of that name."""
        with calling("ecs", "DescribeServices"):
            answer = self._client.describe_services(cluster=self._cluster, services=[name])
        active = [service for service in answer["services"] if service.get("status") == "ACTIVE"]
        if not active:
            raise StepFailed(f"cluster {self._cluster} has no service {name!r}; apply Terraform again")
        return _service(active[0])

    def update(self, name: str, definition: str, desired: int | None) -> str:
        """Point a service at a definition, and perhaps another count; return the id of the deployment that this starts."""
        wanted: dict[str, Any] = {} if desired is None else {"desiredCount": desired}
        with calling("ecs", "UpdateService"):
            try:
                answer = self._client.update_service(
                    cluster=self._cluster, service=name, taskDefinition=definition, **wanted
                )
            except ClientError as error:
                if error_code(error) in _NO_SERVICE:
                    raise StepFailed(f"service {name!r} is gone; apply Terraform again") from error
                raise
        primary = _service(answer["service"]).primary
        if primary is None:
            raise StepFailed(f"ECS answers no deployment for service {name!r}; deploy again")
        return primary.id

    def run(self, task: OneOff) -> str:
        """Start a one-off task and return its ARN; raise StepFailed if ECS does not place it."""
        override: ContainerOverrideTypeDef = {"name": task.container}
        if task.command:
            override["command"] = list(task.command)
        overrides: TaskOverrideTypeDef = {"containerOverrides": [override]}
        with calling("ecs", "RunTask"):
            answer = self._client.run_task(
                cluster=self._cluster,
                taskDefinition=task.definition,
                count=1,
                clientToken=task.token,
                startedBy=task.started_by,
                capacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1}],
                networkConfiguration={
                    "awsvpcConfiguration": {
                        "subnets": self._subnets,
                        "securityGroups": [task.security_group],
                        "assignPublicIp": "DISABLED",
                    }
                },
                overrides=overrides,
            )
        if not answer["tasks"]:
            said = "; ".join(f"{f.get('reason')} {f.get('detail', '')}".strip() for f in answer.get("failures", []))
            raise StepFailed(f"ECS places no task of {task.definition}: {said or 'it does not say why'}")
        return answer["tasks"][0]["taskArn"]

    def stop(self, task: str, reason: str) -> None:
        """Have a task stopped."""
        with calling("ecs", "StopTask"):
            self._client.stop_task(cluster=self._cluster, task=task, reason=reason)

    def task(self, arn: str) -> TaskState | None:
        """Return a task, None while ECS does not show it yet."""
        return next(iter(self._tasks([arn])), None)

    def tasks_of(self, rollout: str) -> list[TaskState]:
        """Return the tasks that a deployment wants to run."""
        with calling("ecs", "ListTasks"):
            # With `startedBy` ECS takes no other filter; by default it lists tasks that shall run.
            arns = self._client.list_tasks(cluster=self._cluster, startedBy=rollout, maxResults=DESCRIBE_LIMIT)[
                "taskArns"
            ]
        return self._tasks(arns) if arns else []

    def _tasks(self, arns: Sequence[str]) -> list[TaskState]:
        with calling("ecs", "DescribeTasks"):
            answer = self._client.describe_tasks(cluster=self._cluster, tasks=list(arns))
        return [_task(task) for task in answer["tasks"]]


def _service(service: Mapping[str, Any]) -> ServiceState:
    rollouts = tuple(
        Rollout(
            id=entry["id"],
            definition=entry["taskDefinition"],
            primary=entry.get("status") == "PRIMARY",
            desired=entry.get("desiredCount", 0),
            running=entry.get("runningCount", 0),
            state=entry.get("rolloutState", ""),
            reason=entry.get("rolloutStateReason", ""),
        )
        for entry in service.get("deployments", ())
    )
    events = tuple(str(event.get("message", "")) for event in service.get("events", ())[:EVENTS_SHOWN])
    return ServiceState(service["taskDefinition"], service["desiredCount"], rollouts, events)


def _task(task: Mapping[str, Any]) -> TaskState:
    container: Mapping[str, Any] = next(iter(task.get("containers") or ()), {})
    reasons = [str(text) for text in (task.get("stoppedReason"), container.get("reason")) if text]
    return TaskState(
        task["taskArn"],
        task.get("lastStatus", ""),
        task.get("healthStatus", "UNKNOWN"),
        container.get("exitCode"),
        "; ".join(dict.fromkeys(reasons)),
    )
