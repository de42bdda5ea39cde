"""What a DAG needs now: runs for its ticks, room for its runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from controller.diff.dags import DagPlan, DagView, NewRun, diff
from crds.dag import Catchup, Concurrency, ConcurrencyPolicy, DagSpec, Schedule
from crds.names import RunUid

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TICK = NOW.replace(second=0)
TASKS = [{"name": "a", "runtime": "python", "with": {"entrypoint": "m:f"}}]


def ticks(_: Schedule, after: datetime, until: datetime, limit: int) -> Sequence[datetime]:
    """Tick at every full hour."""
    first = after.replace(minute=0, second=0) + HOUR
    found = []
    while first <= until:
        found.append(first)
        first += HOUR
    return found[-limit:]


def next_tick(_: Schedule, after: datetime) -> datetime:
    return after.replace(minute=0, second=0) + HOUR


def uids(text: str) -> tuple[RunUid, ...]:
    return tuple(RunUid(c) for c in text)


def view(
    missed: int = 0,
    running: str = "",
    pending: str = "",
    policy: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW,
    most: int = 16,
    suspend: bool = False,
    **schedule: Any,
) -> DagView:
    """Return a DAG with an hourly schedule whose cursor stands `missed` ticks back."""
    spec = DagSpec(
        schedules=(Schedule(name="s", cron="0 * * * *", **schedule),),
        concurrency=Concurrency(max_active_runs=most, policy=policy),
        suspend=suspend,
        tasks=TASKS,
    )
    return DagView(spec, 1, {"s": TICK - missed * HOUR}, uids(running), uids(pending))


def hours(plan: DagPlan) -> list[float]:
    return [(new.tick - TICK) / HOUR for new in plan.create]


FORBID, REPLACE = ConcurrencyPolicy.FORBID, ConcurrencyPolicy.REPLACE


@pytest.mark.parametrize(
    ("seen", "created", "admitted", "replaced"),
    [
        pytest.param(view(), [], "", "", id="nothing due"),
        pytest.param(view(1), [0], "", "", id="one tick"),
        pytest.param(view(4), [0], "", "", id="latest is the default"),
        pytest.param(view(4, catchup=Catchup.ALL), [-3, -2, -1, 0], "", "", id="all"),
        pytest.param(view(4, catchup=Catchup.ALL, max_catchup=2), [-1, 0], "", "", id="all, at most two"),
        pytest.param(view(4, catchup=Catchup.NONE), [0], "", "", id="none: a tick that is on time still runs"),
        pytest.param(
            view(4, catchup=Catchup.ALL, starting_deadline=90 * MINUTE), [-1, 0], "", "", id="starting deadline"
        ),
        pytest.param(view(4, starting_deadline=timedelta(seconds=10)), [], "", "", id="too late for its deadline"),
        pytest.param(view(1, pending="x"), [0], "x", "", id="admits what waits"),
        pytest.param(view(0, running="ab", pending="cde", most=3), [], "c", "", id="as many as have room"),
        pytest.param(view(0, running="abcd", pending="e", most=3), [], "", "", id="none when too many run"),
        pytest.param(view(1, "a", policy=FORBID), [], "", "", id="Forbid while one runs"),
        pytest.param(view(1, "", "a", policy=FORBID), [], "a", "", id="Forbid while one waits"),
        pytest.param(view(3, policy=FORBID, catchup=Catchup.ALL), [0], "", "", id="Forbid starts one of many"),
        pytest.param(view(1, "ab", policy=REPLACE), [0], "", "ab", id="Replace ends those that run"),
        pytest.param(view(0, "ab", policy=REPLACE), [], "", "", id="Replace without a tick ends nothing"),
        pytest.param(view(4, "a", "b", suspend=True), [], "", "", id="suspended"),
    ],
)
def test_diff(seen: DagView, created: list[float], admitted: str, replaced: str) -> None:
    plan = diff(seen, ticks, next_tick, NOW)

    assert hours(plan) == created
    assert (plan.admit, plan.replace) == (uids(admitted), uids(replaced))


def test_cursors_move_to_the_newest_tick_whatever_became_of_it() -> None:
    for seen in (view(4), view(4, "a", policy=FORBID), view(4, starting_deadline=timedelta(seconds=10))):
        assert diff(seen, ticks, next_tick, NOW).cursors == {"s": TICK}


def test_it_wakes_at_the_next_tick_and_a_suspended_dag_never() -> None:
    assert diff(view(), ticks, next_tick, NOW).wake_at == TICK + HOUR
    assert diff(view(suspend=True), ticks, next_tick, NOW).wake_at is None


def test_a_schedule_without_a_cursor_starts_now() -> None:
    seen = view(3)
    plan = diff(DagView(seen.spec, 1, {}, (), ()), ticks, next_tick, NOW)
    assert (plan.create, plan.cursors) == ((), {})


def test_a_new_run_names_its_schedule() -> None:
    seen = view(1)
    assert diff(seen, ticks, next_tick, NOW).create == (NewRun(seen.spec.schedules[0], TICK),)
