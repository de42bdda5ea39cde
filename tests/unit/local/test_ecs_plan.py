"""The decision of a service, as tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controller.local.ecs.model import Container, Service, Status, Task, TaskDefinition
from controller.local.ecs.plan import STEADY, Plan, backoff, plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DEFINITION = TaskDefinition("web", 1, Container("main"), {}, NOW)


def service(count: int, retry_at: datetime | None = None) -> Service:
    return Service("web", "c", DEFINITION, count, "new", NOW, NOW, retry_at=retry_at)


def task(
    number: int,
    *,
    deployment: str = "new",
    age: timedelta | None = 60 * SECOND,
    protected: timedelta | None = None,
    wanted: bool = True,
) -> Task:
    return Task(
        id=f"t{number}",
        cluster="c",
        definition=DEFINITION,
        created_at=NOW,
        service="web",
        started_by=deployment,
        status=Status.PENDING if age is None else Status.RUNNING,
        started_at=None if age is None else NOW - age,
        protected_until=None if protected is None else NOW + protected,
        wanted=wanted,
    )


@pytest.mark.parametrize(
    ("wanted", "tasks", "expected"),
    [
        pytest.param(service(2), [], Plan(start=2), id="nothing runs yet"),
        pytest.param(service(2), [task(1), task(2)], Plan(), id="as wanted"),
        pytest.param(service(2), [task(1), task(2, wanted=False)], Plan(start=1), id="one is stopping"),
        pytest.param(service(1, NOW + SECOND), [], Plan(wake_at=NOW + SECOND), id="held back"),
        pytest.param(service(1, NOW - SECOND), [], Plan(start=1), id="held back long enough"),
        pytest.param(service(1), [task(1), task(2)], Plan(stop=(task(2),)), id="the youngest goes first"),
        pytest.param(
            service(0),
            [task(1, protected=SECOND), task(2)],
            Plan(stop=(task(2),), wake_at=NOW + SECOND),
            id="the protected is spared",
        ),
        pytest.param(
            service(0),
            [task(1, protected=-SECOND)],
            Plan(stop=(task(1, protected=-SECOND),)),
            id="protection ended",
        ),
        pytest.param(service(2), [task(1, deployment="old"), task(2, deployment="old")], Plan(start=2), id="rolls"),
        pytest.param(
            service(1),
            [task(1, deployment="old"), task(2, age=timedelta())],
            Plan(wake_at=NOW + STEADY),
            id="the new one must prove itself",
        ),
        pytest.param(
            service(1),
            [task(1, deployment="old"), task(2, age=STEADY)],
            Plan(stop=(task(1, deployment="old"),)),
            id="the new one has proved itself",
        ),
        pytest.param(
            service(1),
            [task(1, deployment="old", age=None), task(2, age=None)],
            Plan(stop=(task(1, deployment="old", age=None),)),
            id="an old one that does not run yet has nothing to keep up",
        ),
        pytest.param(
            service(1),
            [task(1, deployment="old", protected=SECOND), task(2)],
            Plan(wake_at=NOW + SECOND),
            id="a deployment spares the protected",
        ),
        pytest.param(
            service(1),
            [task(n, deployment="old", protected=SECOND) for n in (1, 2)],
            Plan(wake_at=NOW + SECOND),
            id="never more than twice the count",
        ),
    ],
)
def test_plan(wanted: Service, tasks: list[Task], expected: Plan) -> None:
    assert plan(wanted, tasks, NOW) == expected


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        pytest.param(0, 0, id="none"),
        pytest.param(1, 0, id="the first is free"),
        pytest.param(2, 0.5, id="second"),
        pytest.param(3, 1, id="third"),
        pytest.param(50, 30, id="bounded"),
    ],
)
def test_backoff(failures: int, seconds: float) -> None:
    assert backoff(failures) == timedelta(seconds=seconds)
