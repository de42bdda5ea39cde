"""Move tasks of the local SQS: they bring messages from a dead-letter queue back, or to another queue."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from controller.local.sqs.account import Account
from controller.local.sqs.errors import SqsError, invalid_parameter, invalid_value, no_such_resource
from controller.local.sqs.lanes import State
from controller.local.sqs.message import Message
from controller.local.sqs.queue import Queue

MAX_RATE = 500
MAX_TASKS_KEPT = 10
# Messages moved before other requests get their turn.
_STEP = 500


class Status(Enum):
    """Where a move task is."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


@dataclass(slots=True, eq=False)
class MoveTask:
    """One task that moves messages out of a dead-letter queue."""

    id: int
    source: Queue
    source_arn: str
    destination_arn: str | None
    rate: int | None
    started_at: float
    to_move: int
    moved: int = 0
    status: Status = Status.RUNNING
    failure: str | None = None

    @property
    def handle(self) -> str:
        """Return the opaque handle by which the task is cancelled."""
        return urlsafe_b64encode(f"{self.id}/{self.source_arn}".encode()).decode()

    def allowed(self, now: float) -> int:
        """Return how many messages may be moved now, by the rate that was asked for."""
        left = self.to_move - self.moved
        if self.rate is None:
            return min(left, _STEP)
        return min(left, int((now - self.started_at) * self.rate) - self.moved)


class Moves:
    """The move tasks of an account; at most one runs for each source."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._tasks: dict[str, deque[MoveTask]] = {}
        self._running: list[MoveTask] = []
        self._started = 0

    def start(self, source_arn: str, destination_arn: str | None, rate: int | None, now: float) -> MoveTask:
        """Start to move what is in a dead-letter queue now."""
        source = self._source(source_arn)
        if destination_arn is not None and self._account.by_arn(destination_arn) is None:
            raise _unknown("DestinationArn")
        if rate is not None and not 1 <= rate <= MAX_RATE:
            raise invalid_value(rate, "MaxNumberOfMessagesPerSecond", f"Must be between 1 and {MAX_RATE}.")
        if not any(self._account.sources(source)):
            raise invalid_parameter("Source queue must be configured as a Dead Letter Queue.")
        if any(task.source is source for task in self._running):
            raise invalid_parameter(
                "There is already a task running. "
                "Only one active task is allowed for a source queue arn at a given time."
            )
        self._started += 1
        visible = source.counts(now)[State.WAITING]
        task = MoveTask(self._started, source, source_arn, destination_arn, rate, now, visible)
        self._tasks.setdefault(source.name, deque(maxlen=MAX_TASKS_KEPT)).appendleft(task)
        self._running.append(task)
        return task

    def recent(self, source_arn: str, limit: int) -> Sequence[MoveTask]:
        """Return the latest tasks of a source, newest first."""
        source = self._source(source_arn)
        return list(self._tasks.get(source.name, ()))[:limit]

    def cancel(self, handle: str) -> MoveTask:
        """Stop a running task; what it moved stays moved."""
        try:
            number, source_arn = urlsafe_b64decode(handle.encode()).decode().split("/", 1)
        except ValueError as error:
            raise invalid_parameter("Value for parameter TaskHandle is invalid.") from error
        self._source(source_arn)
        for task in self._running:
            if str(task.id) == number:
                self._end(task, Status.CANCELLED)
                return task
        raise no_such_resource("Task does not exist.")

    def advance(self, now: float) -> None:
        """Move what the rates of the running tasks allow by now."""
        for task in tuple(self._running):
            self._advance(task, now)

    def next_wake(self) -> float | None:
        """Return when a running task may move its next message."""
        return min(
            (
                task.started_at if task.rate is None else task.started_at + (task.moved + 1) / task.rate
                for task in self._running
            ),
            default=None,
        )

    def _advance(self, task: MoveTask, now: float) -> None:
        taken = task.source.drain(max(task.allowed(now), 0), now)
        for index, entry in enumerate(taken):
            target = self._target(task, entry.message)
            if target is None:
                for rest in taken[index:]:
                    task.source.put_back(rest)
                task.failure = _failure(task, entry.message)
                self._end(task, Status.FAILED)
                return
            target.take_back(entry.message, now)
            task.moved += 1
        nothing_left = task.allowed(now) > 0 and not taken
        if task.moved >= task.to_move or nothing_left:
            self._end(task, Status.COMPLETED)

    def _target(self, task: MoveTask, message: Message) -> Queue | None:
        arn = task.destination_arn or message.dead_letter_source
        return self._account.by_arn(arn) if arn else None

    def _end(self, task: MoveTask, status: Status) -> None:
        task.status = status
        self._running.remove(task)

    def _source(self, arn: str) -> Queue:
        source = self._account.by_arn(arn)
        if source is None:
            raise _unknown("SourceArn")
        return source


def _failure(task: MoveTask, message: Message) -> str:
    if task.destination_arn or message.dead_letter_source:
        return "AWS.SimpleQueueService.NonExistentQueue"
    return "CouldNotDetermineMessageSource"


def _unknown(parameter: str) -> SqsError:
    text = f"The resource that you specified for the {parameter} parameter doesn't exist."
    return no_such_resource(text)
