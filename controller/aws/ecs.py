"""ECS: what runs of a pool's service, what stopped and why, and how many there shall be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from controller.aws.errors import calling
from controller.diff.pools import StoppedTask
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_ecs import ECSClient

DESCRIBE_LIMIT = 100
"""The most tasks that one DescribeTasks call takes."""


@dataclass(frozen=True, slots=True)
class ServiceCounts:
    """A service's wanted and running tasks."""

    desired: int
    running: int


class Services(Protocol):
    """What the controller needs of ECS."""

    def counts(self, service: str) -> ServiceCounts | None:
        """Return a service's counts, None if there is no such service."""
        ...

    def set_desired(self, service: str, count: int) -> None:
        """Set how many tasks a service shall run."""
        ...

    def stopped(self, tasks: Sequence[str]) -> Mapping[str, StoppedTask]:
        """Return which of the tasks ECS says are STOPPED, and why. A task that ECS does not know is not stopped."""
        ...

    def stop(self, task: str, reason: str) -> None:
        """Have a task stopped: SIGTERM, then SIGKILL; its service starts another."""
        ...


class EcsServices:
    """Services by boto3."""

    def __init__(self, client: ECSClient, cluster: str) -> None:
        self._client = client
        self._cluster = cluster

    def counts(self, service: str) -> ServiceCounts | None:
        """Return a service's counts, None if there is no such service."""
        with calling("ecs", "DescribeServices"):
            answer = self._client.describe_services(cluster=self._cluster, services=[service])
        found = [s for s in answer["services"] if s.get("status") == "ACTIVE"]
        return ServiceCounts(found[0]["desiredCount"], found[0]["runningCount"]) if found else None

    def set_desired(self, service: str, count: int) -> None:
        """Set how many tasks a service shall run."""
        with calling("ecs", "UpdateService"):
            self._client.update_service(cluster=self._cluster, service=service, desiredCount=count)

    def stop(self, task: str, reason: str) -> None:
        """Have a task stopped."""
        with calling("ecs", "StopTask"):
            self._client.stop_task(cluster=self._cluster, task=task, reason=reason)

    def stopped(self, tasks: Sequence[str]) -> Mapping[str, StoppedTask]:
        """Return which of the tasks ECS says are STOPPED, and why."""
        found: dict[str, StoppedTask] = {}
        for start in range(0, len(tasks), DESCRIBE_LIMIT):
            with calling("ecs", "DescribeTasks"):
                answer = self._client.describe_tasks(
                    cluster=self._cluster, tasks=list(tasks[start : start + DESCRIBE_LIMIT])
                )
            for task in answer["tasks"]:
                if task.get("lastStatus") == "STOPPED":
                    found[task["taskArn"]] = _why(task)
        return found


def _why(task: Mapping[str, Any]) -> StoppedTask:
    containers = task.get("containers") or [{}]
    container = containers[0]
    code, said = container.get("exitCode"), container.get("reason") or ""
    text = task.get("stoppedReason") or "ECS stopped the task"
    if "OutOfMemory" in said:
        return StoppedTask(Reason.OUT_OF_MEMORY, said)
    if task.get("stopCode") == "SpotInterruption":
        return StoppedTask(Reason.SPOT_INTERRUPTION, text)
    suffix = f" (exit code {code})" if code is not None else ""
    return StoppedTask(Reason.WORKER_STOPPED, f"{text}{suffix}")
