"""SQS and ECS in memory, by a virtual clock, with the misbehaviour that a test asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.aws.ecs import ServiceCounts
from controller.aws.functions import FailedInvocation
from controller.aws.sqs import DeadLetter, QueueCounts
from controller.errors import Throttled, Transient
from crds.names import deduplication_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.diff.pools import StoppedTask
    from crds.protocol import Invocation, Message
    from crds.reasons import Reason
    from tests.integration.core_parts import Hooks

DEDUPLICATED_FOR = 300.0
VISIBILITY = 30.0
MOST_RECEIVES = 3


@dataclass
class Received:
    """A message in a queue: when it is visible again, and how often it was received."""

    message: Message
    visible_at: float = 0.0
    receives: int = 0


@dataclass
class _Queue:
    messages: list[Received] = field(default_factory=list)
    dead: list[Received] = field(default_factory=list)
    seen: dict[str, float] = field(default_factory=dict)


@dataclass
class MemoryQueues:
    """FIFO queues in which each message is a group of its own, as ours are."""

    now: Callable[[], float]
    hooks: Hooks
    queues: dict[str, _Queue] = field(default_factory=dict)
    down: bool = False
    """Every call fails, and nothing is taken."""
    swallow: bool = False
    """Sends are acknowledged, and the message is gone."""
    lose_answers: bool = False
    """Sends are taken, and the sender never learns of it."""
    sends: int = 0

    def send(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        self.hooks.point("send")
        self._up()
        found = self._queue(queue)
        for message in messages:
            self.sends += 1
            name = deduplication_id(message.attempt, message.delivery)
            if self.now() - found.seen.get(name, -DEDUPLICATED_FOR) >= DEDUPLICATED_FOR:
                found.seen[name] = self.now()
                if not self.swallow:
                    found.messages.append(Received(message))
        self.hooks.point("sent")
        if self.lose_answers:
            raise Transient("the answer was lost")
        return list(messages)

    def counts(self, queue: str) -> QueueCounts:
        self._up()
        found = self._queue(queue)
        self._expire(found)
        visible = sum(m.visible_at <= self.now() for m in found.messages)
        return QueueCounts(visible, len(found.messages) - visible, len(found.dead))

    def dead_letters(self, queue: str) -> list[DeadLetter]:
        self._up()
        dead = self._queue(queue).dead
        return [DeadLetter(str(id(d)), d.message if d.message.attempt != "?" else None) for d in dead[:10]]

    def discard(self, queue: str, letters: Sequence[DeadLetter]) -> None:
        self._up()
        found = self._queue(queue)
        gone = {letter.handle for letter in letters}
        found.dead = [d for d in found.dead if str(id(d)) not in gone]

    # What workers and faults do.

    def receive(self, queue: str, count: int) -> list[Received]:
        """Return up to `count` visible messages, oldest first, and hide them."""
        found = self._queue(queue)
        self._expire(found)
        taken = [m for m in found.messages if m.visible_at <= self.now()][:count]
        for m in taken:
            m.visible_at = self.now() + VISIBILITY
            m.receives += 1
        return taken

    def delete(self, queue: str, received: Received) -> None:
        """Delete a message."""
        found = self._queue(queue)
        found.messages = [m for m in found.messages if m is not received]

    def put(self, queue: str, message: Message) -> None:
        """Have a message delivered once more, whatever deduplication says."""
        self._queue(queue).messages.append(Received(message))

    def purge(self) -> None:
        """Lose every message."""
        for queue in self.queues.values():
            queue.messages.clear()

    def bury(self, queue: str) -> None:
        """Move every message to the dead-letter queue."""
        found = self._queue(queue)
        found.dead += found.messages
        found.messages = []

    def _queue(self, name: str) -> _Queue:
        return self.queues.setdefault(name, _Queue())

    def _expire(self, queue: _Queue) -> None:
        spent = [m for m in queue.messages if m.receives >= MOST_RECEIVES and m.visible_at <= self.now()]
        queue.dead += spent
        queue.messages = [m for m in queue.messages if m not in spent]

    def _up(self) -> None:
        if self.down:
            raise Transient("SQS does not answer")


@dataclass
class MemoryFunctions:
    """Lambda functions: what was invoked and not yet run, and what Lambda gave up."""

    hooks: Hooks
    invoked: list[tuple[str, Invocation]] = field(default_factory=list)
    given_up: list[FailedInvocation] = field(default_factory=list)
    throttled: bool = False
    """Lambda takes no invocation."""

    def invoke(self, function: str, invocations: Sequence[Invocation]) -> list[Invocation]:
        self.hooks.point("invoke")
        if self.throttled:
            raise Throttled("TooManyRequestsException")
        self.invoked += [(function, invocation) for invocation in invocations]
        self.hooks.point("invoked")
        return list(invocations)

    def failures(self) -> list[FailedInvocation]:
        return self.given_up[:10]

    def discard(self, failures: Sequence[FailedInvocation]) -> None:
        gone = {failure.handle for failure in failures}
        self.given_up = [failure for failure in self.given_up if failure.handle not in gone]

    # What Lambda does.

    def take(self) -> list[Invocation]:
        """Return what was invoked, and forget it."""
        taken, self.invoked = self.invoked, []
        return [invocation for _, invocation in taken]

    def fail(self, invocation: Invocation, reason: Reason, message: str = "it failed") -> None:
        """Put an invocation where the controller looks for failures."""
        handle = f"{invocation.attempt}.{invocation.delivery}.{len(self.given_up)}"
        self.given_up.append(FailedInvocation(handle, invocation, reason, message))


@dataclass
class MemoryServices:
    """ECS services as counts, and tasks that have stopped."""

    services: dict[str, ServiceCounts] = field(default_factory=dict)
    gone: dict[str, StoppedTask] = field(default_factory=dict)
    deployments: dict[str, str] = field(default_factory=dict)
    told_to_stop: list[str] = field(default_factory=list)

    def counts(self, service: str) -> ServiceCounts | None:
        return self.services.get(service)

    def outdated(self, tasks: Sequence[str], rollout: str) -> frozenset[str]:
        return frozenset(task for task in tasks if self.deployments.get(task, rollout) != rollout)

    def set_desired(self, service: str, count: int) -> None:
        # It grows at once and shrinks later, as ECS does with workers that are protected.
        self.services[service] = ServiceCounts(count, max(count, self.services[service].running))

    def stop(self, task: str, reason: str) -> None:
        self.told_to_stop.append(task)

    def stopped(self, tasks: Sequence[str]) -> Mapping[str, StoppedTask]:
        return {t: self.gone[t] for t in tasks if t in self.gone}
