"""One queue of the local SQS: a state machine in memory, without I/O and without a clock.

Every call that depends on time takes `now` in epoch seconds, so that tests can let minutes pass at once.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from controller.local.sqs import handles
from controller.local.sqs.errors import (
    SqsError,
    expired_handle,
    invalid_parameter,
    invalid_value,
    missing_parameter,
)
from controller.local.sqs.handles import Receipt
from controller.local.sqs.lanes import Entry, Lanes, State
from controller.local.sqs.memory import Memory
from controller.local.sqs.message import Draft, Message, content_id, message_id, text_md5
from controller.local.sqs.settings import MAX_VISIBILITY_SECONDS, Settings

MAX_IN_FLIGHT = 120_000
PURGE_INTERVAL_SECONDS = 60
# Timers of deleted messages stay in the heap until they outnumber the others.
_TIMER_SLACK = 1_024
_OTHER_TYPE = "The request include parameter that is not valid for this queue type."


class Sent(NamedTuple):
    """The answer to a send; a duplicate gets that of the original."""

    message_id: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as one receiver gets it."""

    message: Message
    handle: str
    received: int
    first_received_at: float


@dataclass(frozen=True, slots=True)
class Received:
    """The outcome of a receive: what is delivered, and what was received too often for that."""

    deliveries: tuple[Delivery, ...]
    dead: tuple[Entry, ...] = ()


class Queue:
    """A standard or FIFO queue."""

    def __init__(self, name: str, attributes: dict[str, str], now: float, next_sequence: Callable[[], int]) -> None:
        self.name = name
        self.attributes = attributes
        self.settings = Settings.of(attributes)
        self.tags: dict[str, str] = {}
        self.created_at = self.modified_at = now
        self._next_sequence = next_sequence
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._lanes = Lanes()
        self._timers: list[tuple[float, int]] = []
        self._counts: Counter[State] = Counter()
        self._sends: Memory[str | tuple[str, str], Sent] = Memory()
        self._receives: Memory[str, tuple[Receipt, ...]] = Memory()
        self._purged_at: float | None = None

    def change(self, attributes: dict[str, str], now: float) -> None:
        """Replace the attributes; a FIFO queue's new delay also holds for messages that are delayed now."""
        old, self.settings = self.settings, Settings.of(attributes)
        self.attributes = attributes
        self.modified_at = now
        if self.settings.fifo and self.settings.delay != old.delay:
            for entry in self._entries.values():
                if entry.state is State.DELAYED:
                    entry.visible_at = entry.message.sent_at + self.settings.delay
                    self._set_timer(entry)

    def send(self, draft: Draft, now: float) -> Sent:
        """Accept a message, or drop it as a duplicate of one sent within five minutes."""
        draft.check(self.settings.max_bytes)
        dedup = self._deduplication_id(draft)
        key = None if dedup is None else self._deduplication_key(dedup, draft.message_group_id or "")
        if key is not None and (earlier := self._sends.get(key, now)) is not None:
            return earlier
        sequence = self._next_sequence()
        sent = Sent(message_id(self.name, sequence), sequence)
        trace = draft.message_system_attributes.get("AWSTraceHeader")
        message = Message(
            id=sent.message_id,
            body=draft.message_body,
            body_md5=text_md5(draft.message_body),
            sequence=sequence,
            sent_at=now,
            group=draft.message_group_id,
            deduplication_id=dedup,
            attributes=draft.message_attributes,
            trace_header=trace.string_value if trace else None,
        )
        self._keep(message, 0, self._delay(draft), now)
        if key is not None:
            self._sends.put(key, sent, now)
        return sent

    def receive(
        self,
        limit: int,
        visibility: int | None,
        now: float,
        *,
        max_receives: int | None = None,
        attempt: str = "",
    ) -> Received:
        """Deliver up to `limit` messages, in order within a group; hand out those received too often."""
        self.advance(now)
        seconds = self.settings.visibility if visibility is None else visibility
        if attempt and (repeated := self._repeat(attempt, seconds, now)):
            return Received(repeated)
        room = MAX_IN_FLIGHT - self._counts[State.IN_FLIGHT]
        deliveries: list[Delivery] = []
        dead: list[Entry] = []
        while len(deliveries) < min(limit, room) and (lane := self._lanes.pop_ready()) is not None:
            while len(deliveries) < min(limit, room) and (entry := lane.pop_visible()) is not None:
                if max_receives is not None and entry.received >= max_receives:
                    dead.append(self._remove(entry))
                    continue
                lane.in_flight += 1
                deliveries.append(self._deliver(entry, seconds, now))
            self._lanes.settle(lane)
        if attempt:
            receipts = tuple(handles.read(self.name, each.handle) for each in deliveries)
            self._receives.put(attempt, receipts, now)
        return Received(tuple(deliveries), tuple(dead))

    def delete(self, handle: str, now: float) -> None:
        """Delete the message that a handle names; deleting it again is a success."""
        self.advance(now)
        receipt = handles.read(self.name, handle)
        entry = self._entries.get(receipt.sequence)
        if entry is None:
            return
        current = entry.received == receipt.received
        if self.settings.fifo and not (current and entry.state is State.IN_FLIGHT):
            raise expired_handle(handle)
        if current:
            self._drop(entry)

    def change_visibility(self, handle: str, seconds: int, now: float) -> None:
        """Let a message in flight become visible `seconds` from now."""
        self.advance(now)
        receipt = handles.read(self.name, handle)
        entry = self._entries.get(receipt.sequence)
        if entry is None or (entry.received != receipt.received and not self.settings.fifo):
            reason = "Message does not exist or is not available for visibility timeout change."
            raise invalid_value(handle, "ReceiptHandle", reason)
        if entry.received != receipt.received:
            raise expired_handle(handle)
        if entry.state is not State.IN_FLIGHT:
            raise SqsError("MessageNotInflight", "The message referred to is not in flight.")
        if int(now - entry.received_at) + seconds > MAX_VISIBILITY_SECONDS:
            limit = f"[{MAX_VISIBILITY_SECONDS} seconds]"
            reason = f"Total VisibilityTimeout for the message is beyond the limit {limit}"
            raise invalid_value(seconds, "VisibilityTimeout", reason)
        entry.visible_at = now + seconds
        self._set_timer(entry)
        self.advance(now)

    def purge(self, now: float) -> None:
        """Forget all messages, also those in flight; what was sent stays remembered as duplicates."""
        if self._purged_at is not None and now < self._purged_at + PURGE_INTERVAL_SECONDS:
            often = f"every {PURGE_INTERVAL_SECONDS} seconds"
            text = f"Only one PurgeQueue operation on {self.name} is allowed {often}."
            raise SqsError("PurgeQueueInProgress", text, status=403)
        self._purged_at = now
        self._entries.clear()
        self._lanes.clear()
        self._timers.clear()
        self._counts.clear()

    def drain(self, limit: int, now: float) -> Sequence[Entry]:
        """Take up to `limit` visible messages out for good, to be kept elsewhere."""
        self.advance(now)
        taken: list[Entry] = []
        while len(taken) < limit and (lane := self._lanes.pop_ready()) is not None:
            while len(taken) < limit and (entry := lane.pop_visible()) is not None:
                taken.append(self._remove(entry))
            self._lanes.settle(lane)
        return taken

    def put_back(self, entry: Entry) -> None:
        """Keep a drained message again, at its old place."""
        self._entries[entry.message.sequence] = entry
        self._counts[State.WAITING] += 1
        self._lanes.add(entry)

    def take_in(self, message: Message, received: int, now: float, *, source: str) -> None:
        """Keep a dead letter of another queue; it is never dropped as a duplicate, whatever was sent here."""
        moved = replace(
            message,
            sequence=self._next_sequence(),
            sent_at=now if self.settings.fifo else message.sent_at,
            dead_letter_source=source,
        )
        self._keep(moved, received, 0, now)

    def take_back(self, message: Message, now: float) -> None:
        """Keep a message that a move task brings; to SQS it is a new one, yet never a duplicate."""
        sequence = self._next_sequence()
        fresh = replace(
            message,
            id=message_id(self.name, sequence),
            sequence=sequence,
            sent_at=now,
            dead_letter_source=None,
        )
        self._keep(fresh, 0, 0, now)

    def counts(self, now: float) -> Counter[State]:
        """Return how many messages are in each state."""
        self.advance(now)
        return self._counts

    def ready(self, now: float) -> bool:
        """Say whether a receive would find something."""
        self.advance(now)
        return self._lanes.ready and self._counts[State.IN_FLIGHT] < MAX_IN_FLIGHT

    def next_wake(self) -> float | None:
        """Return when the next message becomes visible without anyone's doing."""
        while self._timers:
            visible_at, sequence = self._timers[0]
            entry = self._entries.get(sequence)
            if entry is not None and entry.state is not State.WAITING and entry.visible_at == visible_at:
                return visible_at
            heappop(self._timers)
        return None

    def advance(self, now: float) -> None:
        """Let time pass: delays and visibility timeouts end, messages past their retention go."""
        while (wake := self.next_wake()) is not None and wake <= now:
            entry = self._entries[heappop(self._timers)[1]]
            was_in_flight = entry.state is State.IN_FLIGHT
            self._set_state(entry, State.WAITING)
            if was_in_flight:
                self._lanes.release(entry, back=True)
            else:
                self._lanes.undelay(entry)
        # Only the oldest is looked at; one that came from another queue may go a little late.
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if oldest.message.sent_at + self.settings.retention > now:
                return
            self._drop(oldest)

    def _deduplication_id(self, draft: Draft) -> str | None:
        if not self.settings.fifo:
            if draft.message_deduplication_id:
                raise invalid_value(draft.message_deduplication_id, "MessageDeduplicationId", _OTHER_TYPE)
            return None
        if not draft.message_group_id:
            raise missing_parameter("MessageGroupId")
        if draft.message_deduplication_id:
            return draft.message_deduplication_id
        if not self.settings.content_based:
            raise invalid_parameter(
                "The queue should either have ContentBasedDeduplication enabled or "
                "MessageDeduplicationId provided explicitly"
            )
        return content_id(draft.message_body)

    def _deduplication_key(self, dedup: str, group: str) -> str | tuple[str, str]:
        return (group, dedup) if self.settings.dedup_by_group else dedup

    def _delay(self, draft: Draft) -> int:
        if draft.delay_seconds and self.settings.fifo:
            raise invalid_value(draft.delay_seconds, "DelaySeconds", _OTHER_TYPE)
        return self.settings.delay if draft.delay_seconds is None else draft.delay_seconds

    def _keep(self, message: Message, received: int, delay: int, now: float) -> None:
        lane = (message.group or "") if self.settings.fifo else message.id
        state = State.DELAYED if delay else State.WAITING
        entry = Entry(message, lane, state, now + delay, received)
        self._entries[message.sequence] = entry
        self._counts[state] += 1
        self._lanes.add(entry)
        if delay:
            self._set_timer(entry)

    def _deliver(self, entry: Entry, seconds: int, now: float) -> Delivery:
        entry.received += 1
        entry.received_at = now
        entry.first_received_at = entry.first_received_at or now
        entry.visible_at = now + seconds
        self._set_state(entry, State.IN_FLIGHT)
        self._set_timer(entry)
        return self._delivery(entry)

    def _delivery(self, entry: Entry) -> Delivery:
        handle = handles.issue(self.name, Receipt(entry.message.sequence, entry.received))
        return Delivery(entry.message, handle, entry.received, entry.first_received_at)

    def _repeat(self, attempt: str, seconds: int, now: float) -> tuple[Delivery, ...]:
        """Return what the same receive attempt got before, if none of it has changed since."""
        receipts = self._receives.get(attempt, now) or ()
        entries = [self._entries.get(receipt.sequence) for receipt in receipts]
        held = [
            entry
            for entry, receipt in zip(entries, receipts, strict=True)
            if entry is not None and entry.state is State.IN_FLIGHT and entry.received == receipt.received
        ]
        if len(held) < len(receipts):
            return ()
        for entry in held:
            entry.visible_at = now + seconds
            self._set_timer(entry)
        return tuple(self._delivery(entry) for entry in held)

    def _drop(self, entry: Entry) -> None:
        self._remove(entry)
        if entry.state is State.IN_FLIGHT:
            self._lanes.release(entry, back=False)
        else:
            self._lanes.discard(entry)

    def _remove(self, entry: Entry) -> Entry:
        del self._entries[entry.message.sequence]
        self._counts[entry.state] -= 1
        return entry

    def _set_state(self, entry: Entry, state: State) -> None:
        self._counts[entry.state] -= 1
        self._counts[state] += 1
        entry.state = state

    def _set_timer(self, entry: Entry) -> None:
        heappush(self._timers, (entry.visible_at, entry.message.sequence))
        if len(self._timers) > 2 * len(self._entries) + _TIMER_SLACK:
            live = (each for each in self._entries.values() if each.state is not State.WAITING)
            self._timers = [(each.visible_at, each.message.sequence) for each in live]
            heapify(self._timers)
