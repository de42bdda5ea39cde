"""What is held, which slots are free, and how an attempt is asked to stop."""

from __future__ import annotations

import pytest

from crds.names import AttemptId
from crds.protocol import MAX_BATCH, Grant
from workers.held import Held, Registry, Stop


def grant(number: int) -> Grant:
    return Grant(
        attempt=AttemptId(f"run/task/{number}/1"),
        token="token",
        task={},
        dag="dag",
        run="run",
        namespace="default",
        number=1,
        timeout_seconds=1,
    )


def test_slot_is_free_when_the_report_is_recorded() -> None:
    registry = Registry(1)
    held = registry.add(grant(1))
    assert held is not None
    assert registry.free() == 0
    assert registry.busy == 1

    registry.forget(held.grant.attempt)
    assert registry.free() == 1
    assert registry.wait_empty(0)


def test_repeated_grant_takes_no_second_slot() -> None:
    registry = Registry(2)
    registry.add(grant(1))

    assert registry.add(grant(1)) is None
    assert registry.free() == 1


def test_no_more_is_held_than_a_heartbeat_names() -> None:
    registry = Registry(MAX_BATCH + 1)
    for number in range(MAX_BATCH):
        registry.add(grant(number))

    assert registry.free() == 0
    assert registry.wait_free(0) == 0


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param([Stop.CANCEL], Stop.CANCEL, id="one"),
        pytest.param([Stop.CANCEL, Stop.EVICT], Stop.CANCEL, id="the first stays"),
        pytest.param([Stop.EVICT, Stop.STALE], Stop.STALE, id="but a superseded attempt reports nothing"),
        pytest.param([Stop.STALE, Stop.CANCEL], Stop.STALE, id="ever"),
    ],
)
def test_stop(asked: list[Stop], expected: Stop) -> None:
    held = Held(grant(1))
    wakes: list[None] = []
    held.watch(lambda: wakes.append(None))

    for why in asked:
        held.stop(why)

    assert held.stopping is expected
    assert len(wakes) == len(asked)
