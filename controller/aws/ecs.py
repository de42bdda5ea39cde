"""ECS: what runs of a pool's service, what stopped and why, and how many there shall be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from controller.aws.errors import calling
from controller.diff.pools import StoppedTask, Trouble
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.type_defs import ServiceEventTypeDef, TaskTypeDef

DESCRIBE_LIMIT = 100
"""The most tasks that one DescribeTasks call takes."""


STOPPED_LIMIT = 20
"""How many stopped tasks are looked at for why a service is short of tasks."""
_UNPLACED, _STEADY = "unable to place a task", "has reached a steady state"
_PRIMARY = "PRIMARY"


@dataclass(frozen=True, slots=True)
class ServiceCounts:
    """A service's wanted and running tasks, why it is short of them, and what it rolls out."""

    desired: int
    running: int
    trouble: Trouble | None = None
    rollout: str | None = None
    """The newest deployment, while tasks of an earlier one are left."""
    renewed: int = 0
    """How many tasks of the newest deployment run."""


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

    def outdated(self, tasks: Sequence[str], rollout: str) -> frozenset[str]:
        """Return which of the tasks another deployment than `rollout` has started."""
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
        found = next((s for s in answer["services"] if s.get("status") == "ACTIVE"), None)
        if found is None:
            return None
        desired, running = found["desiredCount"], found["runningCount"]
        deployments = found.get("deployments", [])
        newest = next((d for d in deployments if d.get("status") == _PRIMARY), None)
        rolls = newest is not None and len(deployments) > 1
        return ServiceCounts(
            desired,
            running,
            self._trouble(service, found.get("events", [])) if running < desired else None,
            newest["id"] if newest is not None and rolls else None,
            newest["runningCount"] if newest is not None and rolls else 0,
        )

    def outdated(self, tasks: Sequence[str], rollout: str) -> frozenset[str]:
        """Return which of the tasks another deployment than `rollout` has started."""
        return frozenset(t["taskArn"] for t in self._described(tasks) if t.get("startedBy") != rollout)

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
        return {t["taskArn"]: _why(t) for t in self._described(tasks) if t.get("lastStatus") == "STOPPED"}

    def _described(self, tasks: Sequence[str]) -> Iterator[TaskTypeDef]:
        for start in range(0, len(tasks), DESCRIBE_LIMIT):
            with calling("ecs", "DescribeTasks"):
                answer = self._client.describe_tasks(
                    cluster=self._cluster, tasks=list(tasks[start : start + DESCRIBE_LIMIT])
                )
            yield from answer["tasks"]

    def _trouble(self, service: str, events: Sequence[ServiceEventTypeDef]) -> Trouble | None:
        """Return the newest reason for which ECS started no task since the service was last steady."""
        found: list[tuple[datetime, Trouble]] = []
        # ECS gives the newest event first.
        for event in events:
            if _STEADY in event["message"]:
                break
            if _UNPLACED in event["message"]:
                found.append((event["createdAt"], Trouble(Reason.NO_CAPACITY, event["message"])))
                break
        with calling("ecs", "ListTasks"):
            listed = self._client.list_tasks(
                cluster=self._cluster, serviceName=service, desiredStatus="STOPPED", maxResults=STOPPED_LIMIT
            )
        ended = sorted(self._described(listed["taskArns"]), key=_ended_at)
        if ended and ended[-1].get("stopCode") == "TaskFailedToStart":
            found.append((_ended_at(ended[-1]), _launch_failure(ended[-1])))
        return max(found, key=lambda pair: pair[0])[1] if found else None


def _ended_at(task: Mapping[str, Any]) -> datetime:
    ended: datetime = task.get("stoppedAt") or task.get("stoppingAt") or task["createdAt"]
    return ended


def _launch_failure(task: Mapping[str, Any]) -> Trouble:
    """Return what a task that never ran means; it may have no containers at all.

    The words are ECS's: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
    """
    said = [str(task.get("stoppedReason") or ""), *(str(c.get("reason") or "") for c in task.get("containers") or [])]
    text = "; ".join(dict.fromkeys(filter(None, said))) or "ECS gives no reason"
    if "CannotPull" in text or "ImageNotFound" in text:
        return Trouble(Reason.IMAGE_PULL_FAILED, f"{text}; check the image and the execution role, then deploy again")
    return Trouble(Reason.NO_CAPACITY, text)


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
