"""What a worker pool needs now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.diff.pools import LEASE, SCALE_IN_AFTER, GoneWorker, PoolView, StoppedTask, WorkerView, diff, wanted
from crds.names import WorkerId
from crds.pool import Runtime, WorkerPoolSpec
from crds.reasons import Reason

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OPEN = NOW - timedelta(hours=1)


def spec(**more: Any) -> WorkerPoolSpec:
    return WorkerPoolSpec(runtime=Runtime.PYTHON, slots=2, min_tasks=1, max_tasks=5, **more)


def worker(name: str, left: int = 5, live: int = 0, *, drain: bool = False, task: str | None = None) -> WorkerView:
    """Return a worker whose lease ends in `left` seconds."""
    by = NOW + left * SECOND
    return WorkerView(WorkerId(name), by, by - LEASE, live, drain, task)


def view(*workers: WorkerView, demand: int = 0, desired: int | None = None, **more: Any) -> PoolView:
    values: dict[str, Any] = {
        "visible": 0,
        "stopped": {},
        "open_since": OPEN,
        "busy_until": None,
        "spec": spec(),
        **more,
    }
    return PoolView(demand=demand, desired=desired, workers=workers, **values)


@pytest.mark.parametrize(
    ("demand", "visible", "suspend", "expected"),
    [
        pytest.param(0, 0, False, 1, id="no demand: the least"),
        pytest.param(2, 0, False, 1, id="one task's worth"),
        pytest.param(3, 0, False, 2, id="rounded up"),
        pytest.param(99, 0, False, 5, id="at most maxTasks"),
        pytest.param(99, 9, True, 0, id="suspended"),
    ],
)
def test_wanted(demand: int, visible: int, suspend: bool, expected: int) -> None:
    assert wanted(spec(suspend=suspend), demand, visible) == expected


def test_a_visible_message_alone_asks_for_a_task() -> None:
    empty = WorkerPoolSpec(runtime=Runtime.PYTHON, min_tasks=0)
    assert [wanted(empty, 0, visible) for visible in (0, 7)] == [0, 1]


@pytest.mark.parametrize(
    ("seen", "gone"),
    [
        pytest.param(view(worker("a", 1)), {}, id="heard in time"),
        pytest.param(view(worker("a", 0)), {"a": Reason.LEASE_EXPIRED}, id="lease over"),
        pytest.param(view(worker("a", -99), open_since=NOW - 9 * SECOND), {}, id="heartbeats could not arrive"),
        pytest.param(
            view(worker("a", -99), open_since=NOW - 10 * SECOND),
            {"a": Reason.LEASE_EXPIRED},
            id="they could for a lease",
        ),
        pytest.param(
            view(worker("a", 9, task="t"), stopped={"t": StoppedTask(Reason.SPOT_INTERRUPTION, "")}),
            {"a": Reason.SPOT_INTERRUPTION},
            id="its ECS task stopped",
        ),
        pytest.param(
            view(worker("a", 9), stopped={"t": StoppedTask(Reason.SPOT_INTERRUPTION, "")}),
            {},
            id="another's task stopped",
        ),
    ],
)
def test_gone(seen: PoolView, gone: dict[str, Reason]) -> None:
    assert {g.id: g.reason for g in diff(seen, NOW, scales=False).gone} == gone


def test_a_worker_given_up_carries_the_heartbeat_that_was_seen() -> None:
    (gone,) = diff(view(worker("a", -5)), NOW, scales=False).gone
    assert gone == GoneWorker(
        WorkerId("a"), NOW - 15 * SECOND, Reason.LEASE_EXPIRED, "worker a has not been heard for 15 s"
    )


def test_the_task_of_a_silent_worker_is_stopped() -> None:
    seen = view(worker("a", -5, task="frozen"), worker("b", 5, task="well"), worker("c", -5))
    assert diff(seen, NOW, scales=False).stop == ("frozen",)


def test_the_task_of_a_stopped_worker_is_left_alone() -> None:
    seen = view(worker("a", 9, task="t"), stopped={"t": StoppedTask(Reason.SPOT_INTERRUPTION, "")})
    assert diff(seen, NOW, scales=False).stop == ()


def test_a_worker_whose_task_is_gone_makes_no_other_surplus() -> None:
    seen = view(worker("dead", 9), worker("fresh", 9), desired=1, demand=1)
    assert diff(seen, NOW, scales=False).drain
    assert diff(replace(seen, running=1), NOW, scales=False).drain == ()


def test_it_wakes_when_the_first_lease_ends() -> None:
    assert diff(view(worker("a", 7), worker("b", 4)), NOW, scales=False).wake_at == NOW + 4 * SECOND
    assert diff(view(worker("a", 7), open_since=NOW), NOW, scales=False).wake_at == NOW + LEASE


@pytest.mark.parametrize(
    ("seen", "desired"),
    [
        pytest.param(view(demand=8, desired=1), 4, id="grows at once"),
        pytest.param(view(demand=8, desired=4), None, id="is right"),
        pytest.param(view(demand=8, desired=None), None, id="has no service"),
        pytest.param(view(desired=4), 1, id="was never busy"),
        pytest.param(view(desired=4, busy_until=NOW - SCALE_IN_AFTER), 1, id="has been idle long enough"),
        pytest.param(view(desired=4, busy_until=NOW - SCALE_IN_AFTER + SECOND), None, id="was busy a moment ago"),
        pytest.param(view(desired=4, busy_until=NOW, spec=spec(suspend=True)), 0, id="is suspended"),
    ],
)
def test_desired(seen: PoolView, desired: int | None) -> None:
    assert diff(seen, NOW, scales=True).desired == desired
    assert diff(seen, NOW, scales=False).desired is None


@pytest.mark.parametrize(
    ("workers", "desired", "drain", "undrain"),
    [
        pytest.param([worker("a"), worker("b")], 2, "", "", id="as many as are desired"),
        pytest.param([worker("a", live=1), worker("b")], 1, "b", "", id="the least busy leaves"),
        pytest.param([worker("a"), worker("b", live=2, drain=True)], 1, "", "", id="the choice does not wander"),
        pytest.param([worker("a", drain=True), worker("b")], 2, "", "a", id="nobody leaves any more"),
        pytest.param([worker("a"), worker("b")], 0, "ab", "", id="all leave"),
        pytest.param([worker("a"), worker("b")], None, "", "", id="nobody knows how many are desired"),
    ],
)
def test_drain(workers: list[WorkerView], desired: int | None, drain: str, undrain: str) -> None:
    plan = diff(view(*workers, desired=desired), NOW, scales=False)
    assert ("".join(plan.drain), "".join(plan.undrain)) == (drain, undrain)


OLD = frozenset({"old-1", "old-2"})


@pytest.mark.parametrize(
    ("renewed", "running", "drain"),
    [
        pytest.param(0, 2, "", id="the new deployment starts nothing: nobody leaves"),
        pytest.param(1, 3, "b", id="one has come: the idle one of the old leaves"),
        pytest.param(2, 4, "ab", id="all have come: the busy one leaves too"),
    ],
)
def test_a_rollout_replaces_one_by_one(renewed: int, running: int, drain: str) -> None:
    old = [worker("a", live=2, task="old-1"), worker("b", task="old-2")]
    new = [worker(name, task=f"new-{name}") for name in "xy"[:renewed]]
    seen = view(*old, *new, demand=2, desired=2, running=running, outdated=OLD, renewed=renewed)
    plan = diff(seen, NOW, scales=False)
    assert "".join(plan.drain) == drain
    assert not plan.undrain
