"""What a drill comes to, from recorded histories."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controller.drill.history import Fault, History, Kind, Led, Sign, Task, Try
from controller.drill.show import document, summary
from controller.drill.verdict import Verdict, judge

FAULT = datetime(2026, 1, 1, 12, tzinfo=UTC)
TOTAL = "total"


def at(seconds: float) -> datetime:
    return FAULT + timedelta(seconds=seconds)


def attempt(number: int, phase: str, claimed: float | None, ended: float | None, **more: object) -> Try:
    times = [None if t is None else at(t) for t in (claimed, ended)]
    values: dict[str, object] = {"reason": phase, "ecs_task": "victim", **more}
    return Try(number, phase, at(-9), *times, **values)  # type: ignore[arg-type]


def task(name: str, *tries: Try, phase: str = "Succeeded", starts: dict[int, int] | None = None) -> Task:
    return Task(name, phase, tries, starts=starts or {})


def total(*numbers: int) -> Task:
    done = attempt(1, "Succeeded", 8, 9, ecs_task="other")
    return Task(TOTAL, "Succeeded", (done,), {"numbers": list(numbers)})


LOST = attempt(1, "Lost", -2, 0.5, reason="WorkerStopped")
AGAIN = attempt(2, "Succeeded", 1.5, 3, ecs_task="other")
UNTOUCHED = task("b", attempt(1, "Succeeded", -2, 1, ecs_task="other"))
KILLED = History(
    run="r",
    phase="Succeeded",
    fault=Fault(Kind.KILL_WORKER, FAULT, "SIGKILL", "victim"),
    tasks=(task("a", LOST, AGAIN), UNTOUCHED, total(1, 2)),
    signs=(
        Sign(at(-5), "WorkerStopped", "r.a"),
        Sign(at(0.4), "WorkerStopped", "other.a"),
        Sign(at(0.5), "WorkerStopped", "r.a"),
        Sign(at(1.6), "Claimed", "r.a"),
    ),
    ended=at(9),
    numbers=frozenset({1, 2}),
)
QUEUED = attempt(1, "Succeeded", 64, 66, delivery=2)
PURGED = replace(
    KILLED,
    fault=Fault(Kind.PURGE_QUEUE, FAULT, "PurgeQueue", waiting=frozenset({("a", 1), ("b", 1)})),
    tasks=(task("a", QUEUED), task("b", attempt(1, "Succeeded", 0.1, 2)), total(1, 2)),
    signs=(Sign(at(62), "DeliveryLost", "r.a"),),
)
LED = Led(at(2), 4, "host/2")
STOPPED = replace(
    KILLED,
    fault=Fault(Kind.STOP_CONTROLLER, FAULT, "SIGKILL"),
    tasks=(task("a", attempt(1, "Succeeded", -2, 3)), task("b", attempt(1, "Succeeded", 4, 5)), total(1, 2)),
    led=LED,
)
SPOT = replace(KILLED, fault=Fault(Kind.SPOT_NOTICE, FAULT, "notice", "victim"))


def times(verdict: Verdict) -> tuple[float | None, ...]:
    return tuple(moment.seconds for moment in verdict.timeline)


@pytest.mark.parametrize(
    ("history", "expected", "reasons"),
    [
        pytest.param(KILLED, (0, 0.5, 1.5, 1.5, 9), ("WorkerStopped",), id="worker killed"),
        pytest.param(PURGED, (0, 62, 64, 64, 9), ("DeliveryLost",), id="queue purged"),
        pytest.param(STOPPED, (0, 2, 4, 4, 9), ("leadership: term 4",), id="leader stopped"),
        pytest.param(
            replace(SPOT, tasks=(task("a", replace(LOST, phase="Evicted", reason="Evicted"), AGAIN), total(1, 2))),
            (0, 0.5, 1.5, 1.5, 9),
            ("WorkerStopped", "Evicted"),
            id="evicted by a spot notice",
        ),
        pytest.param(
            replace(SPOT, tasks=(task("a", attempt(1, "Succeeded", -1, 2)), total(1, 2)), signs=()),
            (0, None, None, None, 9),
            (),
            id="all finished within the grace",
        ),
    ],
)
def test_times(history: History, expected: tuple[float | None, ...], reasons: tuple[str, ...]) -> None:
    verdict = judge(history)
    assert (times(verdict), sorted(verdict.reasons)) == (expected, sorted(reasons))
    assert verdict.problems == ()
    assert verdict.passed


def test_counts() -> None:
    counts = judge(KILLED).counts
    assert (counts.tasks, counts.affected, counts.attempts_lost, counts.retried) == (3, 1, 1, 1)
    assert (counts.tasks_lost, counts.ended_twice, counts.outputs_lost, counts.outputs_doubled) == (0, 0, 0, 0)
    assert judge(PURGED).counts.affected == 1
    assert judge(replace(KILLED, numbers=frozenset())).counts.outputs_lost is None


@pytest.mark.parametrize(
    ("history", "says"),
    [
        pytest.param(
            replace(KILLED, ended=None, phase="Running", tasks=(task("a", LOST, phase="Ready"), total(1, 2))),
            "1 of 2 tasks have not ended in time; `setpoint explain run/r`",
            id="it never came back",
        ),
        pytest.param(
            replace(KILLED, phase="Failed", tasks=(task("a", LOST, phase="Failed"), total(1, 2))),
            "1 tasks ended without success",
            id="a task failed",
        ),
        pytest.param(replace(KILLED, tasks=(UNTOUCHED, total(1, 2))), "the fault hit nobody", id="nobody was hit"),
        pytest.param(replace(STOPPED, led=None), "nobody saw the work go on", id="no leader was seen"),
        pytest.param(
            replace(KILLED, tasks=(task("a", LOST, AGAIN, replace(AGAIN, number=3)), total(1, 2))),
            "1 tasks succeeded more than once",
            id="ended twice",
        ),
        pytest.param(
            replace(KILLED, tasks=(task("a", LOST, AGAIN, attempt(3, "Lost", 4, 5)), total(1, 2))),
            "1 tasks succeeded more than once",
            id="a try after one that succeeded",
        ),
        pytest.param(
            replace(KILLED, tasks=(task("a", LOST, AGAIN, starts={1: 1, 2: 2}), total(1, 2))),
            "user code of 1 attempts began more than once",
            id="started twice",
        ),
        pytest.param(
            replace(KILLED, tasks=(task("a", LOST, AGAIN), total(1))), "1 outputs are lost and 0 doubled", id="lost"
        ),
        pytest.param(
            replace(KILLED, tasks=(task("a", LOST, AGAIN), total(1, 1, 2))),
            "0 outputs are lost and 1 doubled",
            id="doubled",
        ),
    ],
)
def test_problems(history: History, says: str) -> None:
    verdict = judge(history)
    assert not verdict.passed
    assert any(says in problem for problem in verdict.problems), verdict.problems


def test_the_spread_of_several_drills() -> None:
    later = replace(KILLED, signs=(), tasks=(task("a", replace(LOST, ended=at(2)), AGAIN), total(1, 2)))
    verdicts = [judge(KILLED), judge(later), judge(replace(SPOT, tasks=(UNTOUCHED, total(1, 2)), signs=()))]
    found = document(verdicts, "local")
    assert found["detection"] == {"p50": 1.25, "max": 2.0, "measured": 2}
    assert found["passed"] is False
    assert found["drills"][0]["counts"]["tasksLost"] == 0
    assert "2 of 3" in summary(verdicts)
