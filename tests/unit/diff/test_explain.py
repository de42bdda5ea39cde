"""The sentences that say why."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controller.diff import explain
from controller.diff.explain import DagRoom, PoolRoom, Surroundings
from controller.observed import ObservedDag, ObservedPool, ObservedRun, ObservedTask
from crds.phases import AttemptPhase, RunPhase, TaskPhase
from tests.unit.diff.observing import NOW, SECOND, attempt, run, stored, task

FREE = Surroundings(NOW, {"python": PoolRoom(4, 1, 2, 2, 2)}, DagRoom(), tries={"t": 3})
FULL = Surroundings(NOW, {"python": PoolRoom(4, 4, 2, 2, 2)})
AWAY = Surroundings(NOW, {"python": PoolRoom(4, 1, 0, 2, 2)})
RUNNING = attempt(AttemptPhase.RUNNING, worker="w1", claimed_at=NOW - 12 * SECOND)
ABOVE = {
    "ingest": [task(TaskPhase.ACTIVE, "ingest", attempts=(RUNNING,))],
    "load": [task(TaskPhase.READY, "load")],
    "done": [task(TaskPhase.SUCCEEDED, "done", ended_at=NOW)],
}


@pytest.mark.parametrize(
    ("seen", "around", "sentence"),
    [
        pytest.param(
            task(TaskPhase.WAITING, needs=("done", "ingest", "load")),
            Surroundings(NOW, tasks=ABOVE),
            "waits for upstream ingest (Running, attempt 1 on worker w1 since 12 s), load (Ready)",
            id="upstream",
        ),
        pytest.param(
            task(TaskPhase.READY),
            FULL,
            "ready, waits for a slot in pool python: 4 of 4 in use",
            id="full pool",
        ),
        pytest.param(
            task(TaskPhase.READY, ready_at=NOW - 3 * SECOND),
            FREE,
            "ready since 3 s, a slot in pool python is free (1 of 4 in use)",
            id="free slot",
        ),
        pytest.param(
            task(TaskPhase.READY),
            Surroundings(NOW, dag=DagRoom(4, 4)),
            "ready, waits for its DAG: 4 of 4 active tasks (concurrency.maxActiveTasks)",
            id="full DAG",
        ),
        pytest.param(
            task(TaskPhase.READY, held=True),
            FREE,
            "ready, but its run is suspended; setpoint resume run/flights-r lets it go on",
            id="suspended run",
        ),
        pytest.param(
            task(TaskPhase.READY),
            Surroundings(NOW, {"python": PoolRoom(4, 0, 0, suspended=True)}),
            "ready, but pool python is suspended",
            id="suspended pool",
        ),
        pytest.param(
            task(TaskPhase.BACKOFF, not_before=NOW + 3 * SECOND, user_failures=2, message="ValueError: no"),
            FREE,
            "backoff until 12:00:03 (2 of 3 tries used: ValueError: no)",
            id="backoff",
        ),
        pytest.param(
            task(TaskPhase.BACKOFF, not_before=NOW, infrastructure_failures=2, reason="LeaseExpired"),
            FREE,
            "backoff until 12:00:00 (lost 2 times to the infrastructure: LeaseExpired)",
            id="backoff after a loss",
        ),
        pytest.param(
            task(TaskPhase.ACTIVE, attempts=(attempt(AttemptPhase.QUEUED, sent_at=NOW - 12 * SECOND),)),
            AWAY,
            "attempt 1 was queued 12 s ago, pool python has 0 of 2 workers",
            id="queued",
        ),
        pytest.param(
            task(TaskPhase.ACTIVE, attempts=(RUNNING,)), FREE, "attempt 1 runs on worker w1 since 12 s", id="running"
        ),
        pytest.param(
            task(
                TaskPhase.FAILED,
                reason="UserError",
                message="boom",
                started_at=NOW - 90 * SECOND,
                ended_at=NOW,
                attempts=(attempt(AttemptPhase.FAILED, 3),),
            ),
            FREE,
            "Failed after 1 min 30 s, 3 attempts: UserError, boom",
            id="failed",
        ),
    ],
)
def test_task(seen: ObservedTask, around: Surroundings, sentence: str) -> None:
    assert explain.task(seen, around) == sentence


@pytest.mark.parametrize(
    ("seen", "room", "sentence"),
    [
        pytest.param(
            run(RunPhase.PENDING),
            DagRoom(active_runs=16, max_runs=16),
            "pending since 1 min 0 s: DAG flights has 16 of 16 active runs (concurrency.maxActiveRuns)",
            id="no room",
        ),
        pytest.param(
            run(RunPhase.PENDING),
            DagRoom(max_runs=16, suspended=True),
            "pending since 1 min 0 s: DAG flights is suspended; setpoint resume dag/flights lets it go on",
            id="suspended DAG",
        ),
        pytest.param(
            run(tasks={TaskPhase.ACTIVE: 1, TaskPhase.SUCCEEDED: 2}),
            DagRoom(),
            "running since 50 s (1 Active, 2 Succeeded); its timeout is in 1 h 0 min",
            id="running",
        ),
        pytest.param(
            run(RunPhase.FAILED, reason="TaskFailed", message="1 failed: a", ended_at=NOW),
            DagRoom(),
            "Failed after 50 s: TaskFailed, 1 failed: a",
            id="failed",
        ),
    ],
)
def test_run(seen: ObservedRun, room: DagRoom, sentence: str) -> None:
    assert explain.run(seen, room, NOW) == sentence


def test_dag_and_pool() -> None:
    seen = ObservedDag(3, 1, 2, next_tick=NOW + timedelta(hours=2))
    assert explain.dag(stored(), seen, NOW) == (
        "next run at 2026-01-02T14:00:00Z, in 2 h 0 min; 1 runs active, 2 pending"
    )
    pool = ObservedPool(live=1, demand=3, workers=1, visible=1, desired=2)
    assert explain.pool(stored("WorkerPool"), pool, PoolRoom(4, 1, 1, 2, 2)) == (
        "x: 1 of 4 slots in use, 2 tasks wait for one; 1 of 2 desired workers alive, at most 2; "
        "queue: 1 visible, 0 in flight"
    )
