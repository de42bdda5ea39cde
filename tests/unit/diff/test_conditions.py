"""The conditions of each object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.diff import conditions
from controller.observed import (
    Observation,
    ObservedDag,
    ObservedDataset,
    ObservedPool,
    ObservedRun,
    ObservedTask,
    Stored,
)
from crds.phases import AttemptPhase, RunPhase, TaskPhase
from tests.unit.diff.observing import NOW, attempt, run, stored, task

if TYPE_CHECKING:
    from crds.meta import Condition

QUEUED = attempt(AttemptPhase.QUEUED, sent_at=NOW)
RUNNING = attempt(AttemptPhase.RUNNING, sent_at=NOW, claimed_at=NOW, worker="w")


def told(found: tuple[Condition, ...]) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status.value, condition.reason) for condition in found}


@pytest.mark.parametrize(
    ("resource", "seen", "ready", "scheduled"),
    [
        pytest.param(stored(schedules=[{}]), ObservedDag(3), ("True", "Ready"), ("True", "Active"), id="scheduled"),
        pytest.param(stored(), ObservedDag(3), ("True", "Ready"), ("False", "NoSchedule"), id="no schedule"),
        pytest.param(stored(suspend=True), ObservedDag(3), ("True", "Ready"), ("False", "Suspended"), id="suspended"),
        pytest.param(stored(), ObservedDag(2), ("False", "Progressing"), ("False", "NoSchedule"), id="behind"),
        pytest.param(
            stored(),
            ObservedDag(3, observation=Observation(3, {"error": "boom"}, NOW)),
            ("False", "ReconcileFailed"),
            ("False", "NoSchedule"),
            id="the controller fails on it",
        ),
    ],
)
def test_dag(resource: Stored, seen: ObservedDag, ready: tuple[str, str], scheduled: tuple[str, str]) -> None:
    found = told(conditions.dag(resource, seen))
    assert (found["Ready"], found["Scheduled"]) == (ready, scheduled)


@pytest.mark.parametrize(
    ("seen", "succeeded", "progressing", "stalled"),
    [
        pytest.param(
            run(RunPhase.PENDING), ("Unknown", "WaitingForQuota"), "False", "True", id="waits for its DAG's room"
        ),
        pytest.param(
            run(RunPhase.PENDING, dag_suspended=True), ("Unknown", "Suspended"), "False", "True", id="suspended DAG"
        ),
        pytest.param(run(live={AttemptPhase.RUNNING: 1}), ("Unknown", "Progressing"), "True", "False", id="works"),
        pytest.param(run(suspend=True), ("Unknown", "Suspended"), "False", "True", id="suspended and idle"),
        pytest.param(
            run(suspend=True, live={AttemptPhase.RUNNING: 1}),
            ("Unknown", "Progressing"),
            "True",
            "False",
            id="suspended, one goes on",
        ),
        pytest.param(
            run(tasks={TaskPhase.READY: 2}), ("Unknown", "WaitingForSlot"), "False", "True", id="waits for slots"
        ),
        pytest.param(
            run(RunPhase.SUCCEEDED, reason="Succeeded", ended_at=NOW),
            ("True", "Succeeded"),
            "False",
            "False",
            id="done",
        ),
        pytest.param(
            run(RunPhase.FAILED, reason="TaskFailed", ended_at=NOW),
            ("False", "TaskFailed"),
            "False",
            "False",
            id="failed",
        ),
    ],
)
def test_run(seen: ObservedRun, succeeded: tuple[str, str], progressing: str, stalled: str) -> None:
    found = told(conditions.run(seen))
    assert found["Succeeded"] == succeeded
    assert (found["Progressing"][0], found["Stalled"][0]) == (progressing, stalled)
    assert found["Admitted"][0] == str(seen.phase is not RunPhase.PENDING)


@pytest.mark.parametrize(
    ("seen", "true", "waits"),
    [
        pytest.param(task(TaskPhase.WAITING, needs=("a",)), 0, "WaitingForUpstream", id="waiting"),
        pytest.param(task(TaskPhase.READY), 1, "WaitingForSlot", id="ready"),
        pytest.param(task(TaskPhase.READY, held=True), 1, "Suspended", id="held"),
        pytest.param(task(TaskPhase.BACKOFF, not_before=NOW), 1, "Backoff", id="backoff"),
        pytest.param(task(TaskPhase.ACTIVE, attempts=(attempt(AttemptPhase.PENDING),)), 2, "Sending", id="being sent"),
        pytest.param(task(TaskPhase.ACTIVE, attempts=(QUEUED,)), 3, "WaitingForWorker", id="queued"),
        pytest.param(task(TaskPhase.ACTIVE, attempts=(RUNNING,)), 5, "Running", id="running"),
    ],
)
def test_unfinished_task(seen: ObservedTask, true: int, waits: str) -> None:
    succeeded, *stages = conditions.task(seen)
    assert (succeeded.status.value, succeeded.reason) == ("Unknown", waits)
    assert [stage.status.value for stage in stages] == ["True"] * true + ["False"] * (5 - true)


@pytest.mark.parametrize(
    ("seen", "succeeded", "running"),
    [
        pytest.param(
            task(TaskPhase.SUCCEEDED, reason="Succeeded", ready_at=NOW, ended_at=NOW, attempts=(RUNNING,)),
            ("True", "Succeeded"),
            ("False", "Succeeded"),
            id="succeeded",
        ),
        pytest.param(
            task(TaskPhase.FAILED, reason="UserError", ended_at=NOW),
            ("False", "UserError"),
            ("False", "UserError"),
            id="failed",
        ),
        pytest.param(
            task(TaskPhase.SKIPPED, ended_at=NOW), ("False", "Skipped"), ("False", "Skipped"), id="skipped, no reason"
        ),
    ],
)
def test_ended_task(seen: ObservedTask, succeeded: tuple[str, str], running: tuple[str, str]) -> None:
    found = told(conditions.task(seen))
    assert (found["Succeeded"], found["Running"]) == (succeeded, running)


@pytest.mark.parametrize(
    ("resource", "seen", "ready"),
    [
        pytest.param(stored("WorkerPool"), ObservedPool(), ("Unknown", "Unknown"), id="never looked at"),
        pytest.param(stored("WorkerPool"), ObservedPool(observed_at=NOW), ("False", "NotProvisioned"), id="no service"),
        pytest.param(stored("WorkerPool", suspend=True), ObservedPool(), ("False", "Suspended"), id="suspended"),
        pytest.param(
            stored("WorkerPool"),
            ObservedPool(desired=2, observed_at=NOW),
            ("False", "NoCapacity"),
            id="no worker alive",
        ),
        pytest.param(stored("WorkerPool"), ObservedPool(desired=0, observed_at=NOW), ("True", "Ready"), id="at zero"),
        pytest.param(
            stored("WorkerPool"), ObservedPool(desired=2, workers=1, observed_at=NOW), ("True", "Ready"), id="at work"
        ),
    ],
)
def test_pool(resource: Stored, seen: ObservedPool, ready: tuple[str, str]) -> None:
    assert told(conditions.pool(resource, seen)) == {"Ready": ready}


def test_dataset() -> None:
    assert told(conditions.dataset(stored("Dataset"), ObservedDataset())) == {"Ready": ("True", "Ready")}
    assert told(conditions.dataset(stored("Dataset"), None)) == {"Ready": ("Unknown", "Unknown")}
