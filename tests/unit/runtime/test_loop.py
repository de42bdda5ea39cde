"""The loop: one bad key holds up no other, and comes again after its backoff."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from controller.errors import Terminal
from controller.runtime.keys import Key, Kind
from controller.runtime.loop import Loop, Result
from controller.runtime.workqueue import Workqueue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

A, B, C = (Key(Kind.RUN, name) for name in "abc")


@dataclass
class Reconciler:
    """Fails for some keys, and remembers its batches."""

    bad: dict[Key, Exception] = field(default_factory=dict)
    results: dict[Key, Result] = field(default_factory=dict)
    batches: list[list[Key]] = field(default_factory=list)

    def __call__(self, keys: Sequence[Key]) -> Mapping[Key, Result]:
        self.batches.append(list(keys))
        for key in keys:
            if key in self.bad:
                raise self.bad[key]
        return {key: self.results[key] for key in keys if key in self.results}


def worked(reconciler: Reconciler, *keys: Key, rounds: int = 1) -> tuple[Workqueue, list[float]]:
    """Return the queue after the keys were worked on, at a clock that stands still."""
    clock = [0.0]
    queue = Workqueue("q", lambda: clock[0])
    loop = Loop("l", queue, reconciler, batch=10, leads=lambda: True)
    queue.add(keys)
    for _ in range(rounds):
        got = queue.get(10, 0)
        loop.work(got)
        for key in got:
            queue.done(key)
    return queue, clock


def test_a_batch_that_fails_is_redone_key_by_key() -> None:
    reconciler = Reconciler({B: RuntimeError("b")})
    queue, clock = worked(reconciler, A, B, C)

    assert reconciler.batches == [[A, B, C], [A], [B], [C]]
    assert queue.get(10, 0) == []
    clock[0] = 0.005
    assert queue.get(10, 0) == [B]


def test_what_needs_a_person_is_not_tried_again() -> None:
    queue, clock = worked(Reconciler({A: Terminal("SchemaConflict", "no")}), A)
    clock[0] = 10_000
    assert queue.get(10, 0) == []


def test_a_key_comes_again_when_its_result_says_so() -> None:
    queue, clock = worked(Reconciler(results={A: Result(timedelta(seconds=3))}), A, B)
    assert queue.get(10, 0) == []
    clock[0] = 3
    assert queue.get(10, 0) == [A]


def test_a_success_resets_the_backoff() -> None:
    reconciler = Reconciler({A: RuntimeError("a")})
    queue, clock = worked(reconciler, A)
    assert queue.failed(A) == timedelta(milliseconds=10)
    reconciler.bad.clear()
    clock[0] = 1
    Loop("l", queue, reconciler, batch=10, leads=lambda: True).work(queue.get(10, 0))

    assert queue.failed(A) == timedelta(milliseconds=5)


def test_a_loop_that_does_not_lead_does_nothing_and_ends_when_told() -> None:
    reconciler, queue = Reconciler(), Workqueue("q")
    loop = Loop("l", queue, reconciler, batch=10, leads=lambda: False)
    queue.add([A])
    loop.start()
    loop.stop()
    assert loop.join(20)
    assert reconciler.batches == []
