"""Which ready tasks get the free slots."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.actions import TaskKey
from controller.diff.admission import DagQueue, ReadyTask, admit, lot
from crds.names import RunUid

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ready(name: str, priority: int = 0, age: int = 0) -> ReadyTask:
    return ReadyTask(TaskKey(RunUid("r"), name), 0, priority, NOW - timedelta(seconds=age), 1)


def queue(dag: str, *tasks: ReadyTask, live: int = 0, room: int | None = None) -> DagQueue:
    return DagQueue(dag, live, room, tasks)


def many(prefix: str, count: int, priority: int = 0) -> list[ReadyTask]:
    return [ready(f"{prefix}{n}", priority, 100 - n) for n in range(count)]


@pytest.mark.parametrize(
    ("room", "dags", "expected"),
    [
        pytest.param(3, [], "", id="nobody waits"),
        pytest.param(0, [queue("a", *many("a", 2))], "", id="no room"),
        pytest.param(2, [queue("a", *many("a", 3))], "a0 a1", id="in their order"),
        pytest.param(5, [queue("a", *many("a", 2))], "a0 a1", id="more room than tasks"),
        pytest.param(
            4, [queue("a", *many("a", 9)), queue("b", *many("b", 9))], "a0 b0 a1 b1", id="by turns among DAGs"
        ),
        pytest.param(
            3, [queue("a", *many("a", 9), live=2), queue("b", *many("b", 9))], "b0 b1 a0", id="the least served first"
        ),
        pytest.param(
            3,
            [queue("a", *many("a", 9)), queue("b", *many("b", 1, priority=1), live=50)],
            "b0 a0 a1",
            id="priority before fairness",
        ),
        pytest.param(
            2,
            [queue("a", ready("young", age=1)), queue("b", ready("old", age=9))],
            "old young",
            id="age before name",
        ),
        pytest.param(4, [queue("a", *many("a", 9), room=1), queue("b", *many("b", 2))], "a0 b0 b1", id="a DAG's limit"),
        pytest.param(4, [queue("a", *many("a", 9), room=0)], "", id="a DAG without room"),
    ],
)
def test_admit(room: int, dags: list[DagQueue], expected: str) -> None:
    assert " ".join(task.key.task for _, task in admit(room, dags)) == expected


@pytest.mark.pain("T13")
def test_with_one_slot_nobody_gets_much_more_than_anybody() -> None:
    """Each asks for much, one for most and first; a slot falls free a thousand times."""
    left = {"first": many("f", 900), "second": many("s", 500), "third": many("t", 500)}
    served: Counter[str] = Counter()
    for second in range(1_000):
        now = NOW + timedelta(seconds=second)
        dags = [DagQueue(dag, 0, None, tuple(tasks[:1]), lot(dag, now)) for dag, tasks in left.items()]
        ((dag, _),) = admit(1, dags)
        served[dag] += 1
        left[dag].pop(0)
    assert max(served.values()) < 1.2 * min(served.values())


@st.composite
def queues(draw: st.DrawFn) -> DagQueue:
    dag = draw(st.text("abcdef", min_size=1, max_size=3))
    priorities = sorted(draw(st.lists(st.integers(-3, 3), max_size=8)), reverse=True)
    tasks = [ready(f"{dag}-{n}", p, 50 - n) for n, p in enumerate(priorities)]
    return queue(dag, *tasks, live=draw(st.integers(0, 5)), room=draw(st.none() | st.integers(-1, 5)))


@given(st.integers(0, 20), st.lists(queues(), max_size=6, unique_by=lambda q: q.dag))
def test_no_room_is_exceeded_and_none_is_wasted(room: int, dags: list[DagQueue]) -> None:
    admitted = admit(room, dags)
    taken = Counter(dag for dag, _ in admitted)
    capacity = {q.dag: len(q.tasks) if q.room is None else max(min(q.room, len(q.tasks)), 0) for q in dags}

    assert len(admitted) == min(room, sum(capacity.values()))
    assert all(taken[dag] <= most for dag, most in capacity.items())
    assert len({task.key for _, task in admitted}) == len(admitted)
    # Within a DAG nobody is passed over.
    for q in dags:
        assert [t for dag, t in admitted if dag == q.dag] == list(q.tasks[: taken[q.dag]])
    # No task waits while one of lower priority was admitted, unless its DAG is full.
    for q in dags:
        left = q.tasks[taken[q.dag] :]
        if left and (q.room is None or taken[q.dag] < q.room):
            assert all(task.priority >= left[0].priority for _, task in admitted)
