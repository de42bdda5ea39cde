"""What a resource needs that is being deleted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from controller.diff.deletion import LOOK_AGAIN, RUNS, WORKERS, DeletionPlan, Remains, diff, pool
from crds.names import RunUid

NOW = datetime(2026, 1, 2, tzinfo=UTC)
A, B = RunUid("a"), RunUid("b")
ARCHIVE = "example.com/archive"


@pytest.mark.parametrize(
    ("remains", "expected"),
    [
        pytest.param(
            Remains((RUNS,), running=(A,), ended=(B,)),
            DeletionPlan((A,), (B,), (RUNS,), wake_at=NOW + LOOK_AGAIN),
            id="runs are cancelled, ended ones deleted",
        ),
        pytest.param(
            Remains((RUNS,), ending=1), DeletionPlan(finalizers=(RUNS,), wake_at=NOW + LOOK_AGAIN), id="a run ends"
        ),
        pytest.param(Remains((RUNS,)), DeletionPlan(remove=True), id="nothing is left"),
        pytest.param(Remains((ARCHIVE, RUNS)), DeletionPlan(finalizers=(ARCHIVE,)), id="somebody else holds it"),
        pytest.param(Remains((ARCHIVE,)), DeletionPlan(finalizers=(ARCHIVE,)), id="only somebody else holds it"),
        pytest.param(Remains(()), DeletionPlan(remove=True), id="nobody holds it"),
    ],
)
def test_diff(remains: Remains, expected: DeletionPlan) -> None:
    assert diff(remains, NOW) == expected


@pytest.mark.parametrize(
    ("finalizers", "workers", "tasks", "expected"),
    [
        pytest.param((WORKERS,), 1, 0, DeletionPlan(finalizers=(WORKERS,)), id="a worker is heard"),
        pytest.param((WORKERS,), 0, 2, DeletionPlan(finalizers=(WORKERS,)), id="its service runs tasks"),
        pytest.param((WORKERS,), 0, None, DeletionPlan(finalizers=(WORKERS,)), id="ECS does not answer"),
        pytest.param((WORKERS,), 0, 0, DeletionPlan(remove=True), id="all are gone"),
        pytest.param((WORKERS, ARCHIVE), 0, 0, DeletionPlan(finalizers=(ARCHIVE,)), id="somebody else holds it"),
    ],
)
def test_pool(finalizers: tuple[str, ...], workers: int, tasks: int | None, expected: DeletionPlan) -> None:
    assert pool(finalizers, workers=workers, tasks=tasks) == expected
