"""What was seen of objects, as people ask about them: between the store's rows and the explanations."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from crds.names import AttemptId, DagUid, PoolUid, RunUid
    from crds.phases import AttemptPhase, RunPhase, TaskPhase

# An index is a 32-bit integer in the store.
_INDEX = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Stored:
    """A resource as it is stored; the spec is JSON in camelCase, read leniently."""

    uid: str
    kind: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    generation: int
    resource_version: int
    spec: Mapping[str, Any]
    created_at: datetime
    deleted_at: datetime | None = None
    """Since when it is being deleted."""
    finalizers: tuple[str, ...] = ()
    """What must happen before it is gone."""

    @property
    def terminating(self) -> bool:
        """Tell whether it is being deleted."""
        return self.deleted_at is not None


@dataclass(frozen=True, slots=True)
class Observation:
    """What the controller found when it last looked at a resource."""

    generation: int
    status: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class ObservedDag:
    """How a Dag stands."""

    revision: int
    active_runs: int = 0
    pending_runs: int = 0
    last_run: str | None = None
    last_phase: str | None = None
    next_tick: datetime | None = None
    observation: Observation | None = None

    def observed(self, observation: Observation | None) -> ObservedDag:
        """Return it with what the controller found."""
        return replace(self, observation=observation)


@dataclass(frozen=True, slots=True)
class ObservedPool:
    """How a WorkerPool stands; queue and service are as they were last seen, `desired` None if there is no service."""

    live: int = 0
    demand: int = 0
    workers: int = 0
    visible: int = 0
    in_flight: int = 0
    dead_letters: int = 0
    desired: int | None = None
    running: int | None = None
    observed_at: datetime | None = None
    trouble_reason: str | None = None
    trouble_message: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedDataset:
    """What a Dataset holds."""

    version: int = 0
    rows: int = 0
    bytes: int = 0
    files: int = 0
    partitions: int = 0
    last_run: str | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ObservedNotifier:
    """How a notifier stands; `generation` None if nobody has looked at it yet."""

    generation: int | None = None
    failures: int = 0
    reason: str | None = None
    error: str | None = None
    error_at: datetime | None = None
    sent_at: datetime | None = None
    pending: int = 0


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """A run, with its tasks and its live attempts counted by phase."""

    uid: RunUid
    namespace: str
    name: str
    dag_uid: DagUid
    dag: str
    revision: int
    trigger: str
    schedule: str | None
    tick: datetime | None
    params: Mapping[str, Any]
    labels: Mapping[str, str]
    suspend: bool
    cancel_at: datetime | None
    cancel_reason: str | None
    phase: RunPhase
    reason: str | None
    message: str | None
    deadline: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    generation: int
    resource_version: int
    tasks: Mapping[TaskPhase, int] = field(default_factory=dict)
    live: Mapping[AttemptPhase, int] = field(default_factory=dict)
    dag_suspended: bool = False


@dataclass(frozen=True, slots=True)
class ObservedAttempt:
    """One attempt."""

    id: AttemptId
    number: int
    phase: AttemptPhase
    delivery: int
    worker: str | None
    reason: str | None
    message: str | None
    created_at: datetime
    sent_at: datetime | None = None
    claimed_at: datetime | None = None
    cancel_at: datetime | None = None
    ended_at: datetime | None = None
    ecs_task: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedTask:
    """A task of a run with its newest attempts, oldest first."""

    run_uid: RunUid
    run: str
    run_phase: RunPhase
    namespace: str
    dag_uid: DagUid
    dag: str
    revision: int
    task: str
    index: int
    pool_uid: PoolUid
    pool: str
    phase: TaskPhase
    held: bool
    user_failures: int
    infrastructure_failures: int
    evictions: int
    not_before: datetime | None
    ready_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    outputs: Any
    reason: str | None
    message: str | None
    generation: int
    created_at: datetime
    pool_trouble_reason: str | None = None
    pool_trouble_message: str | None = None
    needs: tuple[str, ...] = ()
    attempts: tuple[ObservedAttempt, ...] = ()

    @property
    def name(self) -> str:
        """Return the name under which people find it."""
        return task_run_name(self.run, self.task, self.index)

    @property
    def last(self) -> ObservedAttempt | None:
        """Return the newest attempt."""
        return self.attempts[-1] if self.attempts else None


def task_run_name(run: str, task: str, index: int) -> str:
    """Return `<run>.<task>`, with `.<index>` for the further items of a fan-out."""
    return f"{run}.{task}.{index}" if index else f"{run}.{task}"


def parse_task_run_name(name: str) -> tuple[str, str, int] | None:
    """Return the run, task and index that a name stands for, or None."""
    run, _, rest = name.partition(".")
    task, _, index = rest.partition(".")
    if not run or not task or not (_INDEX.fullmatch(index) or not index):
        return None
    return run, task, int(index or 0)
