"""What a drill saw, as values: tasks with their tries, events, a change of leader."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SUCCEEDED = "Succeeded"


class Kind(StrEnum):
    """The faults."""

    KILL_WORKER = "kill-worker"
    PURGE_QUEUE = "purge-queue"
    STOP_CONTROLLER = "stop-controller"
    SPOT_NOTICE = "spot-notice"


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt of a task, by the database's clock."""

    number: int
    phase: str
    created: datetime
    claimed: datetime | None = None
    ended: datetime | None = None
    reason: str | None = None
    delivery: int = 1
    ecs_task: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the run, with all its tries. `starts`: how often the log of a try says that user code began."""

    name: str
    phase: str
    tries: tuple[Try, ...]
    outputs: Any = None
    starts: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sign:
    """An event: `about` is a task run's or a pool's name."""

    at: datetime
    reason: str
    about: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Led:
    """Who leads, and since when as far as it was seen."""

    at: datetime
    term: int
    holder: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done, when by the database's clock, and to whom.

    `victim`: the ECS task that was hit. `waiting`: the attempts whose messages were in the queue, as (task, number).
    """

    kind: Kind
    at: datetime
    what: str
    victim: str | None = None
    waiting: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class History:
    """The whole drill. `numbers`: what the tasks had to return, empty for a DAG that is not the drill's."""

    run: str
    phase: str
    fault: Fault
    tasks: tuple[Task, ...]
    signs: tuple[Sign, ...] = ()
    led: Led | None = None
    ended: datetime | None = None
    numbers: frozenset[int] = frozenset()


def read_task(item: Mapping[str, Any], starts: Mapping[int, int] | None = None) -> Task:
    """Return a TaskRun of the API."""
    status, spec = item["status"], item["spec"]
    name = f"{spec['task']}[{spec['index']}]" if spec["index"] else str(spec["task"])
    tries = tuple(_try(attempt) for attempt in status.get("attempts", ()))
    return Task(name, status["phase"], tries, status.get("outputs"), starts or {})


def read_sign(event: Mapping[str, Any]) -> Sign:
    """Return an event of the API."""
    return Sign(datetime.fromisoformat(event["time"]), event["reason"], event["name"], event["message"])


def _try(attempt: Mapping[str, Any]) -> Try:
    return Try(
        number=attempt["number"],
        phase=attempt["phase"],
        created=datetime.fromisoformat(attempt["createdAt"]),
        claimed=_time(attempt.get("claimedAt")),
        ended=_time(attempt.get("endedAt")),
        reason=attempt.get("reason"),
        delivery=attempt["delivery"],
        ecs_task=attempt.get("ecsTask"),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
