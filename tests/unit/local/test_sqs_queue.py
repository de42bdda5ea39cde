"""One queue of the local SQS with a virtual clock: what takes minutes or days, and what must hold always."""

from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from controller.local.sqs.errors import SqsError
from controller.local.sqs.lanes import Entry, State
from controller.local.sqs.message import Draft
from controller.local.sqs.queue import Delivery, Queue
from controller.local.sqs.settings import changed_attributes, new_attributes

MINUTE = 60.0
DAY = 86_400.0


def fifo(**attributes: str) -> Queue:
    given = {"FifoQueue": "true"} | attributes
    return Queue("q.fifo", new_attributes("q.fifo", given), 0.0, count(1).__next__)


def standard(**attributes: str) -> Queue:
    return Queue("q", new_attributes("q", attributes), 0.0, count(1).__next__)


def draft(body: str, group: str = "g", dedup: str | None = None) -> Draft:
    return Draft(message_body=body, message_group_id=group, message_deduplication_id=dedup or body)


def bodies(queue: Queue, now: float, limit: int = 10, visibility: int | None = None) -> list[str]:
    return [each.message.body for each in queue.receive(limit, visibility, now).deliveries]


def one(queue: Queue, now: float, visibility: int | None = None) -> Delivery:
    (delivery,) = queue.receive(1, visibility, now).deliveries
    return delivery


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(5 * MINUTE - 1, ["a"], id="within five minutes"),
        pytest.param(5 * MINUTE, ["a", "b"], id="after five minutes"),
    ],
)
def test_deduplication_ends(after: float, expected: list[str]) -> None:
    queue = fifo()
    queue.send(draft("a", dedup="1"), 0)
    queue.send(draft("b", dedup="1"), after)

    assert bodies(queue, after) == expected


def test_duplicate_does_not_prolong_the_memory_of_the_original() -> None:
    queue = fifo()
    first = queue.send(draft("a", dedup="1"), 0)

    assert queue.send(draft("a", dedup="1"), 4 * MINUTE) == first
    assert queue.send(draft("a", dedup="1"), 5 * MINUTE) != first


def test_deduplication_survives_a_purge() -> None:
    queue = fifo()
    queue.send(draft("a", dedup="1"), 0)
    queue.purge(1)

    queue.send(draft("b", dedup="1"), 2)

    assert bodies(queue, 3) == []


@pytest.mark.parametrize(
    ("now", "expected"),
    [pytest.param(4 * DAY - 1, ["a", "b"], id="kept"), pytest.param(4 * DAY, ["b"], id="gone")],
)
def test_retention_ends(now: float, expected: list[str]) -> None:
    queue = fifo()
    queue.send(draft("a"), 0)
    queue.send(draft("b"), 1)

    assert bodies(queue, now) == expected


def test_message_past_its_retention_frees_its_group() -> None:
    queue = fifo(MessageRetentionPeriod="60")
    queue.send(draft("a"), 0)
    queue.send(draft("b"), 30)
    assert bodies(queue, 30, limit=1) == ["a"]

    assert bodies(queue, 61) == ["b"]


def test_visibility_of_a_message_ends_within_twelve_hours() -> None:
    queue = fifo()
    queue.send(draft("a"), 0)
    delivery = one(queue, 0, 43_200)

    with pytest.raises(SqsError, match="beyond the limit"):
        queue.change_visibility(delivery.handle, 43_200, 10)
    queue.change_visibility(delivery.handle, 43_190, 10)

    assert bodies(queue, 43_199) == []
    assert bodies(queue, 43_200) == ["a"]


@pytest.mark.parametrize(
    ("after", "same"),
    [
        pytest.param(4 * MINUTE, True, id="within five minutes"),
        pytest.param(5 * MINUTE, False, id="after five minutes"),
    ],
)
def test_receive_attempt_is_remembered(after: float, same: bool) -> None:
    queue = fifo()
    queue.send(draft("a"), 0)
    first = queue.receive(1, 3_600, 0, attempt="x")

    again = queue.receive(1, 3_600, after, attempt="x")

    assert (again == first) is same


def test_repeated_receive_attempt_starts_the_visibility_anew() -> None:
    queue = fifo()
    queue.send(draft("a"), 0)
    queue.receive(1, 100, 0, attempt="x")
    queue.receive(1, 100, 50, attempt="x")

    assert bodies(queue, 149) == []
    assert bodies(queue, 150) == ["a"]


def test_receive_attempt_is_void_once_its_message_was_changed() -> None:
    queue = fifo()
    queue.send(draft("a"), 0)
    first = queue.receive(1, 100, 0, attempt="x")
    queue.change_visibility(first.deliveries[0].handle, 0, 1)

    again = queue.receive(1, 100, 2, attempt="x")

    assert [each.received for each in again.deliveries] == [2]


def test_purge_is_allowed_again_after_a_minute() -> None:
    queue = standard()
    queue.purge(0)
    with pytest.raises(SqsError, match="60 seconds"):
        queue.purge(59)

    queue.purge(60)


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        pytest.param(fifo(DelaySeconds="100"), ["a"], id="fifo: at once"),
        pytest.param(standard(DelaySeconds="100"), [], id="standard: for new messages"),
    ],
)
def test_new_delay_of_a_queue(queue: Queue, expected: list[str]) -> None:
    message = draft("a") if queue.settings.fifo else Draft(message_body="a")
    queue.send(message, 0)

    queue.change(changed_attributes(queue.attributes, {"DelaySeconds": "10"}), 1)

    assert bodies(queue, 20) == expected


def test_delayed_head_holds_back_its_group() -> None:
    queue = fifo(DelaySeconds="10")
    queue.send(draft("a"), 0)
    queue.send(draft("b"), 5)

    assert bodies(queue, 9) == []
    assert bodies(queue, 10) == ["a"]
    assert queue.next_wake() == 15


def test_next_wake_is_the_earliest_that_still_counts() -> None:
    queue = fifo()
    queue.send(draft("a", group="a"), 0)
    queue.send(draft("b", group="b"), 0)
    first, second = one(queue, 0, 10), one(queue, 0, 20)
    assert queue.next_wake() == 10

    queue.delete(first.handle, 1)
    assert queue.next_wake() == 20

    queue.change_visibility(second.handle, 100, 1)
    assert queue.next_wake() == 101


def test_timers_do_not_pile_up() -> None:
    queue = standard()
    queue.send(Draft(message_body="a"), 0)
    delivery = one(queue, 0, 40_000)

    for second in range(10_000):
        queue.change_visibility(delivery.handle, 30_000, float(second))

    assert len(queue._timers) < 2_000
    assert queue.next_wake() == 39_999


def test_messages_in_flight_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.local.sqs.queue.MAX_IN_FLIGHT", 12)
    queue = standard()
    for _ in range(15):
        queue.send(Draft(message_body="a"), 0)

    assert [len(bodies(queue, 0)) for _ in range(3)] == [10, 2, 0]
    assert not queue.ready(0)
    assert len(bodies(queue, 30)) == 10


def test_too_often_received_message_is_handed_out_once() -> None:
    queue = fifo()
    queue.send(draft("a"), 0)
    queue.send(draft("b"), 0)
    one(queue, 0, 1)

    received = queue.receive(1, None, 1, max_receives=1)

    assert [entry.message.body for entry in received.dead] == ["a"]
    assert [each.message.body for each in received.deliveries] == ["b"]
    assert queue.receive(1, None, 2, max_receives=1).dead == ()


class FifoModel(RuleBasedStateMachine):
    """Drive a FIFO queue at random, and hold it against what was sent and deleted."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.queue = fifo()
        self.now = 0.0
        self.sent: dict[str, list[int]] = {}
        self.deleted: set[int] = set()
        self.number = count()

    @rule(group=st.sampled_from("abc"))
    def send(self, group: str) -> None:
        number = next(self.number)
        self.queue.send(draft(str(number), group), self.now)
        self.sent.setdefault(group, []).append(number)

    @rule(target=held, limit=st.integers(1, 10), visibility=st.integers(0, 30))
    def receive(self, limit: int, visibility: int) -> object:
        blocked = {entry.lane for entry in self.entries() if self.runs(entry)}
        deliveries = self.queue.receive(limit, visibility, self.now).deliveries
        by_group: dict[str, list[int]] = {}
        for each in deliveries:
            by_group.setdefault(each.message.group or "", []).append(int(each.message.body))
        assert not blocked & by_group.keys()
        for group, numbers in by_group.items():
            left = [number for number in self.sent[group] if number not in self.deleted]
            assert numbers == left[: len(numbers)]
        return multiple(*deliveries)

    @rule(delivery=consumes(held))
    def delete(self, delivery: Delivery) -> None:
        try:
            self.queue.delete(delivery.handle, self.now)
        except SqsError:
            return
        self.deleted.add(int(delivery.message.body))

    @rule(delivery=held, seconds=st.integers(0, 30))
    def change_visibility(self, delivery: Delivery, seconds: int) -> None:
        try:
            self.queue.change_visibility(delivery.handle, seconds, self.now)
        except SqsError:
            return

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def counts_add_up(self) -> None:
        counts = self.queue.counts(self.now)
        states = [entry.state for entry in self.entries()]
        assert all(counts[state] == states.count(state) for state in State)
        assert sum(counts.values()) == sum(map(len, self.sent.values())) - len(self.deleted)

    @invariant()
    def ready_means_that_a_receive_finds_something(self) -> None:
        waiting = {entry.lane for entry in self.entries() if entry.state is State.WAITING}
        blocked = {entry.lane for entry in self.entries() if entry.state is State.IN_FLIGHT}
        assert self.queue.ready(self.now) is bool(waiting - blocked)

    def teardown(self) -> None:
        """Nothing is lost: with time and deletes, every message comes, in order."""
        for group, numbers in self.sent.items():
            self.sent[group] = [number for number in numbers if number not in self.deleted]
        received: dict[str, list[int]] = {group: [] for group in self.sent}
        self.now += 100
        while self.queue.ready(self.now):
            for each in self.queue.receive(10, 100, self.now).deliveries:
                received[each.message.group or ""].append(int(each.message.body))
                self.queue.delete(each.handle, self.now)
        assert received == self.sent

    def entries(self) -> list[Entry]:
        return list(self.queue._entries.values())

    def runs(self, entry: Entry) -> bool:
        """Say whether a message is in flight by the clock, whatever the queue has noticed."""
        return entry.state is State.IN_FLIGHT and entry.visible_at > self.now


FifoModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestFifoModel = FifoModel.TestCase
