"""SQS in memory, by the virtual clock: FIFO queues in which each attempt is a group, with everything that may go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from controller.aws.sqs import DeadLetter, QueueCounts
from controller.errors import Throttled, Transient
from crds.names import deduplication_id
from crds.protocol import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.simulation.faults import Faults
    from tests.simulation.fibers import Fibers

DEDUPLICATED_FOR = 300.0
VISIBILITY = 30.0
MOST_RECEIVES = 3
MOST_LATE = 20.0
STALE_FOR = 20.0
"""How old approximate counts may be."""


@dataclass(eq=False)
class Stored:
    """A message in a queue: when it is visible again, how often it was received, and its newest receipt handle."""

    body: bytes
    group: str
    visible_at: float
    receives: int = 0
    handle: str = ""


@dataclass
class Queue:
    """A queue, its dead-letter queue, and what it remembers to deduplicate."""

    messages: list[Stored] = field(default_factory=list)
    dead: list[Stored] = field(default_factory=list)
    seen: dict[str, float] = field(default_factory=dict)
    past: list[tuple[float, QueueCounts]] = field(default_factory=list)


class SimulatedSqs:
    """All queues."""

    def __init__(self, fibers: Fibers, faults: Faults) -> None:
        self._fibers = fibers
        self._faults = faults
        self._queues: dict[str, Queue] = {}
        self._handles = count(1)
        self.sends = 0
        self.deadly = False
        """Whether messages end in the dead-letter queue without having been received."""
        self.sent: list[tuple[str, bytes, str]] = []
        """Every message that was ever sent, so that old ones can come again."""
        self.offered: set[tuple[str, int]] = set()
        """Every attempt and delivery that it was asked to take."""

    def queue(self, name: str) -> Queue:
        """Return a queue, with what has been received too often moved to its dead-letter queue."""
        queue = self._queues.setdefault(name, Queue())
        now = self._fibers.now
        spent = [m for m in queue.messages if m.receives >= MOST_RECEIVES and m.visible_at <= now]
        for message in spent:
            queue.messages.remove(message)
            queue.dead.append(message)
        return queue

    @property
    def names(self) -> list[str]:
        """Return the queues that anybody used."""
        return list(self._queues)

    def accept(self, name: str, message: Message) -> None:
        """Take one message: once, unless something goes wrong."""
        self.sends += 1
        queue, now, draws = self.queue(name), self._fibers.now, self._faults.draws
        known, offer = deduplication_id(message.attempt, message.delivery), (message.attempt, message.delivery)
        new = offer not in self.offered
        self.offered.add(offer)
        if now - queue.seen.get(known, -DEDUPLICATED_FOR) < DEDUPLICATED_FOR:
            assert not new, (
                f"delivery {message.delivery} of {message.attempt} was dropped as a repetition, and never taken"
            )
            return
        queue.seen[known] = now
        body = msgspec.json.encode(message)
        self.sent.append((name, body, message.attempt))
        if draws("messageLost"):
            return
        for _ in range(2 if draws("messageDoubled") else 1):
            late = self._fibers.random.uniform(0, MOST_LATE) if draws("messageLate") else 0.0
            (queue.dead if self.deadly else queue.messages).append(Stored(body, message.attempt, now + late))

    def put(self, name: str, body: bytes, group: str) -> None:
        """Have a message delivered, whatever deduplication says."""
        self.queue(name).messages.append(Stored(body, group, self._fibers.now))

    def receivable(self, name: str) -> list[Stored]:
        """Return the visible messages whose group has none in flight."""
        now = self._fibers.now
        messages = self.queue(name).messages
        busy = {m.group for m in messages if m.visible_at > now and m.receives}
        return [m for m in messages if m.visible_at <= now and m.group not in busy]

    def receive(self, name: str, limit: int) -> list[tuple[str, bytes]]:
        """Hide up to `limit` messages and return their handles and bodies, in any order if faults are about."""
        found = self.receivable(name)
        if self._faults.active:
            self._fibers.random.shuffle(found)
        taken: list[tuple[str, bytes]] = []
        for message in found[:limit]:
            message.visible_at = self._fibers.now + VISIBILITY
            message.receives += 1
            message.handle = f"h{next(self._handles)}"
            taken.append((message.handle, message.body))
        return taken

    def delete(self, name: str, handles: Sequence[str]) -> None:
        """Delete messages by the handles of their newest receives."""
        queue = self.queue(name)
        queue.messages = [m for m in queue.messages if not m.handle or m.handle not in handles]

    def counts(self, name: str) -> QueueCounts:
        """Return the counts, as they are or as they were a while ago."""
        queue, now = self.queue(name), self._fibers.now
        visible = sum(m.visible_at <= now for m in queue.messages)
        counts = QueueCounts(visible, len(queue.messages) - visible, len(queue.dead))
        queue.past = [(at, old) for at, old in queue.past if now - at <= STALE_FOR] + [(now, counts)]
        if self._faults.draws("countsStale"):
            return self._fibers.random.choice(queue.past)[1]
        return counts

    def next_visible(self) -> float | None:
        """Return when the next hidden message becomes visible."""
        now = self._fibers.now
        return min(
            (m.visible_at for q in self._queues.values() for m in q.messages if m.visible_at > now), default=None
        )

    def purge(self, name: str) -> None:
        """Lose every message of a queue."""
        self.queue(name).messages.clear()


class SqsDoor:
    """One controller's way to SQS."""

    def __init__(self, sqs: SimulatedSqs, faults: Faults, point: Callable[[str], None]) -> None:
        self._sqs = sqs
        self._faults = faults
        self._point = point

    def send(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        self._call("send")
        if self._faults.draws("sendLost"):
            raise Transient("SQS did not answer (simulated)")
        taken = list(messages)
        if self._faults.draws("sendThrottled"):
            taken = taken[: len(taken) // 2]
        for message in taken:
            self._sqs.accept(queue, message)
        self._point("sent")
        if self._faults.draws("sendAnswerLost"):
            raise Transient("SQS took the messages, and its answer was lost (simulated)")
        return taken

    def counts(self, queue: str) -> QueueCounts:
        self._call("counts")
        return self._sqs.counts(queue)

    def dead_letters(self, queue: str) -> list[DeadLetter]:
        self._call("dead letters")
        found: list[DeadLetter] = []
        for stored in self._sqs.queue(queue).dead[:10]:
            try:
                message = msgspec.json.decode(stored.body, type=Message)
            except msgspec.DecodeError:
                message = None
            found.append(DeadLetter(str(id(stored)), message))
        return found

    def discard(self, queue: str, letters: Sequence[DeadLetter]) -> None:
        self._call("discard")
        gone = {letter.handle for letter in letters}
        found = self._sqs.queue(queue)
        found.dead = [m for m in found.dead if str(id(m)) not in gone]

    def _call(self, name: str) -> None:
        self._point(name)
        if self._faults.draws("sqsDown"):
            raise Throttled("SQS: Rate exceeded (simulated)")
