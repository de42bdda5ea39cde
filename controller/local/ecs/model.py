"""What the local ECS knows: task definitions, tasks, services."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_ARN = "arn:aws:ecs:us-east-1:000000000000"
DEFAULT_STOP_TIMEOUT = timedelta(seconds=30)


class Status(StrEnum):
    """A task's `lastStatus`; the shorter-lived ones of AWS are left out."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"


class StopCode(StrEnum):
    """Why a task stopped, as ECS classifies it."""

    FAILED_TO_START = "TaskFailedToStart"
    EXITED = "EssentialContainerExited"
    USER = "UserInitiated"
    SERVICE = "ServiceSchedulerInitiated"
    SPOT = "SpotInterruption"


class Health(StrEnum):
    """What the container's health check came to."""

    UNKNOWN = "UNKNOWN"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


class Rollout(StrEnum):
    """How far a deployment is."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class HealthCheck(msgspec.Struct, rename="camel", frozen=True):
    """A command by which a container says that it works; seconds as ECS has them by default."""

    command: tuple[str, ...]
    interval: int = 30
    timeout: int = 5
    retries: int = 3
    start_period: int = 0

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return what is executed."""
        kind, *rest = self.command
        return ("/bin/sh", "-c", *rest) if kind == "CMD-SHELL" else tuple(rest)


class CircuitBreaker(msgspec.Struct, rename="camel", frozen=True):
    """Whether a deployment that starts no task is given up, and the one before it taken again."""

    enable: bool = False
    rollback: bool = False


class DeploymentConfiguration(msgspec.Struct, rename="camel", frozen=True):
    """How a service rolls to another definition; percents of the desired count."""

    maximum_percent: int = 200
    minimum_healthy_percent: int = 100
    deployment_circuit_breaker: CircuitBreaker = CircuitBreaker()


DEFAULT_DEPLOYMENT = DeploymentConfiguration()


class Pair(msgspec.Struct, frozen=True):
    """An environment variable."""

    name: str
    value: str


class Container(msgspec.Struct, rename="camel", frozen=True):
    """What a container definition says about the process; the rest means nothing here."""

    name: str
    image: str | None = None
    entry_point: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[Pair, ...] = ()
    working_directory: str | None = None
    stop_timeout: int | None = None
    health_check: HealthCheck | None = None


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """One revision of a family: its first container runs; `body` is the request that registered it."""

    family: str
    revision: int
    container: Container
    body: Mapping[str, Any]
    registered_at: datetime
    active: bool = True

    @property
    def arn(self) -> str:
        """Return the ARN."""
        return f"{_ARN}:task-definition/{self.family}:{self.revision}"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What RunTask changes of the container's definition."""

    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


NO_OVERRIDES = Overrides()


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it is at one moment."""

    id: str
    cluster: str
    definition: TaskDefinition
    created_at: datetime
    overrides: Overrides = NO_OVERRIDES
    service: str | None = None
    started_by: str | None = None
    group: str = ""
    version: int = 1

    status: Status = Status.PENDING
    wanted: bool = True
    started_at: datetime | None = None
    stopping_at: datetime | None = None
    stopped_at: datetime | None = None

    stop_code: StopCode | None = None
    stopped_reason: str | None = None
    exit_code: int | None = None
    container_reason: str | None = None

    protected_until: datetime | None = None
    health: Health = Health.UNKNOWN
    address: str | None = None

    @property
    def arn(self) -> str:
        """Return the ARN."""
        return f"{_ARN}:task/{self.cluster}/{self.id}"

    @property
    def desired_status(self) -> Status:
        """Return `RUNNING`, or `STOPPED` once anyone wants it to stop or it has."""
        return Status.RUNNING if self.wanted else Status.STOPPED

    @property
    def stop_timeout(self) -> timedelta:
        """Return how long the process may take from SIGTERM to SIGKILL."""
        seconds = self.definition.container.stop_timeout
        return DEFAULT_STOP_TIMEOUT if seconds is None else timedelta(seconds=seconds)

    def healthy(self, now: datetime, steady: timedelta) -> bool:
        """Return whether a deployment may count on the task: by its health check, or because it has run so long."""
        if self.started_at is None or self.status is not Status.RUNNING:
            return False
        if self.definition.container.health_check is not None:
            return self.health is Health.HEALTHY
        return now - self.started_at >= steady

    def protected(self, now: datetime) -> bool:
        """Return whether scale-in and deployments must spare the task."""
        return self.protected_until is not None and self.protected_until > now


@dataclass(frozen=True, slots=True)
class Service:
    """A number of tasks of one definition that are kept running."""

    name: str
    cluster: str
    definition: TaskDefinition
    desired_count: int
    deployment: str
    created_at: datetime
    deployed_at: datetime
    active: bool = True

    # What CreateService and UpdateService said, to be shown again.
    said: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    configuration: DeploymentConfiguration = DEFAULT_DEPLOYMENT
    rollout: Rollout = Rollout.IN_PROGRESS
    failed_tasks: int = 0
    completed: TaskDefinition | None = None
    """What the last deployment that completed runs."""
    given_up: tuple[tuple[str, str], ...] = ()
    """Deployments that failed, and why."""

    # Task starts are held back after failures in a row.
    failures: int = 0
    retry_at: datetime | None = None
    messages: tuple[tuple[datetime, str], ...] = ()

    @property
    def arn(self) -> str:
        """Return the ARN."""
        return f"{_ARN}:service/{self.cluster}/{self.name}"


def cluster_arn(name: str) -> str:
    """Return the ARN of a cluster."""
    return f"{_ARN}:cluster/{name}"


def last_part(name_or_arn: str) -> str:
    """Return the name or id at the end of an ARN, or what was given if it is none."""
    return name_or_arn.rsplit("/", 1)[-1]
