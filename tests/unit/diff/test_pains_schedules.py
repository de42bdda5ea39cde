"""What becomes of the ticks of an outage: every overlap policy with every catch-up rule and every starting deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING

import pytest

from controller.diff.dags import DagView, diff
from crds import cron
from crds.dag import Catchup, Concurrency, ConcurrencyPolicy, DagSpec, Schedule
from crds.names import RunUid

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGAN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
"""The last tick that became a run. Nobody looked for an hour then, and the next look comes 5 s after the tick at 9:00."""
NOW = BEGAN + timedelta(hours=1, seconds=5)
TASKS = [{"name": "a", "runtime": "python", "with": {"entrypoint": "m:f"}}]
ALLOW, FORBID, REPLACE = ConcurrencyPolicy.ALLOW, ConcurrencyPolicy.FORBID, ConcurrencyPolicy.REPLACE
NONE, LATEST, ALL = Catchup.NONE, Catchup.LATEST, Catchup.ALL

# Minutes past eight of the ticks that become runs, before overlap is looked at: those that are on time, or wanted late, and
# not older than the starting deadline. `all` is limited to four here.
WANTED = {
    (NONE, None): [60],
    (NONE, 2): [],
    (NONE, 1_500): [60],
    (LATEST, None): [60],
    (LATEST, 2): [],
    (LATEST, 1_500): [60],
    (ALL, None): [30, 40, 50, 60],
    (ALL, 2): [],
    (ALL, 1_500): [40, 50, 60],
}


def expected(policy: ConcurrencyPolicy, wanted: Sequence[int], *, active: bool) -> tuple[list[int], bool]:
    """Return the ticks that become runs, and whether the active run is replaced."""
    if policy is ALLOW:
        return list(wanted), False
    if policy is FORBID:
        # One at a time: nothing beside the active run, and of many the newest.
        return ([] if active else list(wanted[-1:])), False
    return list(wanted[-1:]), active and bool(wanted)


CASES = [
    pytest.param(
        policy, catchup, deadline, active,
        id=f"{policy} {catchup} deadline={deadline} {'active' if active else 'idle'}",
    )
    for policy, (catchup, deadline), active in product([ALLOW, FORBID, REPLACE], WANTED, [False, True])
]  # fmt: skip


@pytest.mark.parametrize(("policy", "catchup", "deadline", "active"), CASES)
def test_t21_ticks_of_an_hour_in_which_nobody_looked(
    policy: ConcurrencyPolicy, catchup: Catchup, deadline: int | None, active: bool
) -> None:
    schedule = Schedule(
        name="s",
        cron="*/10 * * * *",
        catchup=catchup,
        max_catchup=4,
        starting_deadline=None if deadline is None else timedelta(seconds=deadline),
    )
    spec = DagSpec(schedules=(schedule,), concurrency=Concurrency(policy=policy), tasks=TASKS)
    run = (RunUid("active"),) if active else ()
    plan = diff(DagView(spec, 1, {"s": BEGAN}, run, ()), _ticks, _next_tick, NOW)

    ticks, replaced = expected(policy, WANTED[catchup, deadline], active=active)
    assert [round((new.tick - BEGAN) / timedelta(minutes=1)) for new in plan.create] == ticks
    assert plan.replace == (run if replaced else ())
    # Whatever became of them, no tick is looked at twice.
    assert plan.cursors == {"s": BEGAN + timedelta(hours=1)}
    assert plan.wake_at == BEGAN + timedelta(minutes=70)


def _ticks(schedule: Schedule, after: datetime, until: datetime, limit: int) -> Sequence[datetime]:
    return cron.ticks(schedule.cron, schedule.timezone, after, until, 1_000)[-limit:]


def _next_tick(schedule: Schedule, after: datetime) -> datetime:
    return cron.next_tick(schedule.cron, schedule.timezone, after)
