"""DagRun and TaskRun: what a trigger or a schedule creates; people read them and ask for cancel or retry."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from crds.dag import JsonObject
from crds.meta import Model, Name, Resource, RunMetadata, Status


class DagRunSpec(Model):
    """One run of one revision of a Dag."""

    dag: Name
    revision: int
    params: JsonObject = Field(default_factory=dict)
    trigger: Literal["manual", "schedule", "webhook"] = "manual"
    schedule: str | None = None
    tick: datetime | None = None
    suspend: bool = False
    cancel: bool = False


class DagRunStatus(Status):
    """What was observed of a run."""

    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    message: str | None = None
    tasks: dict[str, int] = Field(default_factory=dict)


class DagRun(Resource):
    """One run."""

    kind: Literal["DagRun"]
    metadata: RunMetadata
    spec: DagRunSpec
    status: DagRunStatus | None = None


class TaskRunSpec(Model):
    """One task of a run."""

    run: str
    dag: Name
    task: Name
    index: int = 0
    pool: Name
    needs: tuple[str, ...] = ()


class AttemptView(Model):
    """One attempt, as people see it."""

    id: str
    number: int
    phase: str
    delivery: int
    worker: str | None = None
    ecs_task: str | None = None
    reason: str | None = None
    message: str | None = None
    created_at: datetime
    claimed_at: datetime | None = None
    ended_at: datetime | None = None


class TaskRunStatus(Status):
    """What was observed of a task run."""

    ready_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    not_before: datetime | None = None
    reason: str | None = None
    message: str | None = None
    outputs: Any = None
    user_failures: int = 0
    infrastructure_failures: int = 0
    evictions: int = 0
    attempts: tuple[AttemptView, ...] = ()


class TaskRun(Resource):
    """One task run."""

    kind: Literal["TaskRun"]
    metadata: RunMetadata
    spec: TaskRunSpec
    status: TaskRunStatus | None = None
