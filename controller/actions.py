"""What a plan asks the shells to do; every action repeats the facts that it was decided on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from crds.names import AttemptId, RunUid
    from crds.phases import AttemptPhase, RunPhase, TaskPhase
    from crds.reasons import Reason


@dataclass(frozen=True, slots=True)
class TaskKey:
    """One task of a run (or one item of a fan-out)."""

    run: RunUid
    task: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Send:
    """Send the message of one delivery; doing it twice is harmless, its deduplication id is derived."""

    attempt: AttemptId
    pool: str
    delivery: int


@dataclass(frozen=True, slots=True)
class Redeliver:
    """Count the next delivery of an attempt whose message is gone, then send it."""

    attempt: AttemptId
    pool: str
    delivery: int
    """The delivery that was seen, and is given up."""
    reason: Reason
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class Postpone:
    """Look at an attempt again later; `checks` is the number that was seen."""

    attempt: AttemptId
    checks: int
    until: datetime


@dataclass(frozen=True, slots=True)
class RequestCancel:
    """Tell the worker by its next heartbeat to stop an attempt; it is closed at `until` even without an answer."""

    attempt: AttemptId
    until: datetime


@dataclass(frozen=True, slots=True)
class Close:
    """End an attempt that was seen in `seen` and, if a deadline decided it, with that deadline."""

    attempt: AttemptId
    seen: AttemptPhase
    phase: AttemptPhase
    reason: Reason
    message: str = ""
    deadline_seen: datetime | None = None
    kind: str = ""


AttemptAction = Send | Redeliver | Postpone | RequestCancel | Close


@dataclass(frozen=True, slots=True)
class TaskStep:
    """Move a task from `seen` to `phase`; budgets are the totals after the step."""

    key: TaskKey
    seen: TaskPhase
    phase: TaskPhase
    reason: Reason | None = None
    message: str = ""
    not_before: datetime | None = None
    user_failures: int = 0
    infrastructure_failures: int = 0
    evictions: int = 0


@dataclass(frozen=True, slots=True)
class EndRun:
    """End a run."""

    run: RunUid
    phase: RunPhase
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """A line for people: what happened to an object, and why."""

    type: Literal["Normal", "Warning"]
    namespace: str
    kind: str
    name: str
    reason: str
    message: str
    run: RunUid | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run needs now, and when to look again."""

    attempts: tuple[AttemptAction, ...] = ()
    tasks: tuple[TaskStep, ...] = ()
    cancel: tuple[TaskPhase, ...] = ()
    """The phases whose tasks are cancelled all at once."""
    end: EndRun | None = None
    deadline_exceeded: bool = False
    wake_at: datetime | None = None
