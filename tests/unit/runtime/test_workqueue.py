"""The workqueue: each key once, never twice at once, nothing lost."""

from __future__ import annotations

from datetime import timedelta
from threading import Thread

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.runtime.keys import Key, Kind
from controller.runtime.workqueue import Workqueue

KEYS = [Key(Kind.RUN, name) for name in "abcd"]
keys = st.sampled_from(KEYS)


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


class Model(RuleBasedStateMachine):
    """Sets and due times, beside the queue itself."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue = Workqueue("q", self.clock)
        self.ready: list[Key] = []
        self.working: set[Key] = set()
        self.again: set[Key] = set()
        self.due: dict[Key, float] = {}
        self.failures: dict[Key, int] = {}

    @rule(key=keys)
    def add(self, key: Key) -> None:
        self.queue.add([key])
        self._add(key)

    @rule(key=keys, seconds=st.integers(-1, 5))
    def add_after(self, key: Key, seconds: int) -> None:
        self.queue.add_after(key, timedelta(seconds=seconds))
        at = self.clock.at + max(seconds, 0)
        self.due[key] = min(self.due.get(key, at), at)

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self.clock.at += seconds

    @rule(limit=st.integers(1, 3))
    def get(self, limit: int) -> None:
        for key, at in sorted(self.due.items(), key=lambda d: (d[1], d[0])):
            if at <= self.clock.at:
                del self.due[key]
                self._add(key)
        expected = self.ready[:limit]
        assert self.queue.get(limit, 0) == expected
        del self.ready[: len(expected)]
        assert not self.working & set(expected)
        self.working |= set(expected)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.queue.done(key)
        self.working.discard(key)
        if key in self.again:
            self.again.discard(key)
            self._add(key)

    @rule(key=keys)
    def fail(self, key: Key) -> None:
        failures = self.failures[key] = self.failures.get(key, 0) + 1
        delay = self.queue.failed(key).total_seconds()
        assert delay == min(0.005 * 2 ** (failures - 1), 300)
        at = self.clock.at + delay
        self.due[key] = min(self.due.get(key, at), at)

    @rule(key=keys)
    def forget(self, key: Key) -> None:
        self.queue.forget(key)
        self.failures.pop(key, None)

    @invariant()
    def counts(self) -> None:
        assert len(self.queue) == len(self.ready)

    def _add(self, key: Key) -> None:
        if key in self.working:
            self.again.add(key)
        elif key not in self.ready:
            self.ready.append(key)


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestWorkqueue = Model.TestCase


def test_a_waiting_getter_wakes_when_a_key_is_added() -> None:
    queue = Workqueue("q")
    got: list[Key] = []
    getter = Thread(target=lambda: got.extend(queue.get(5, 30)))
    getter.start()
    queue.add(KEYS[:1])
    getter.join(20)

    assert got == KEYS[:1]


def test_a_closed_queue_gives_nothing_and_holds_up_nobody() -> None:
    queue = Workqueue("q")
    queue.add(KEYS)
    queue.close()
    assert queue.get(5, 30) == []


def test_a_cleared_queue_still_knows_what_is_being_worked_on() -> None:
    queue = Workqueue("q", Clock())
    queue.add(KEYS[:1])
    assert queue.get(1, 0) == KEYS[:1]
    queue.clear()
    queue.add(KEYS[:1])

    assert queue.get(1, 0) == []
    queue.done(KEYS[0])
    assert queue.get(1, 0) == KEYS[:1]
