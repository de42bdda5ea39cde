"""What ECS does to those who trust it: launches that fail, lists that lag, calls that are throttled."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from controller.aws.ecs import EcsServices
from crds.reasons import Reason
from tests.contract.ecs.ecs_world import SLEEPER, Cluster, EcsProcess, until
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database


@pytest.fixture(scope="module")
def ecs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EcsProcess]:
    process = EcsProcess(tmp_path_factory.mktemp("ecs"))
    yield process
    process.stop()


@pytest.fixture
def cluster(ecs: EcsProcess) -> Iterator[Cluster]:
    made = Cluster(ecs.client(), f"c{uuid.uuid4().hex[:8]}", ecs)  # noqa: TID251 - a cluster of this test's own
    made.client.create_cluster(clusterName=made.name)
    yield made
    ecs.faults(startFailures=0, capacityFailures=0, staleMilliseconds=0, throttleEvery=0)
    made.update("python", desiredCount=0)


@pytest.fixture
def world(database: Database, cluster: Cluster) -> Iterator[World]:
    world = World(database)
    world.services = EcsServices(cluster.client, cluster.name)  # type: ignore[assignment]
    world.boot()
    world.apply(pool("python"), dag("d", task("a"), defaults={"retries": {"limit": 0, "infrastructure": 0}}))
    yield world
    world.close()


def look(world: World, seconds: float = 5.0) -> tuple[str | None, str | None]:
    """Let the controller look at its pools; return what troubles the only one."""
    world.advance(seconds)
    world.settle()
    rows = world.rows("SELECT trouble_reason, trouble_message FROM pool_observation")
    return rows[0] if rows else (None, None)


def waits(world: World, run: str) -> None:
    """Assert that the attempt waits, and that nobody's budget was used."""
    assert world.attempts(run) == ["Queued"]
    assert world.rows("SELECT user_failures, infrastructure_failures FROM task_run") == [(0, 0)]


@pytest.mark.pain("T8")
@pytest.mark.parametrize(
    ("fault", "reason", "says"),
    [
        pytest.param({"startFailures": 1_000}, Reason.IMAGE_PULL_FAILED, "deploy again", id="no containers"),
        pytest.param({"capacityFailures": 1_000}, Reason.NO_CAPACITY, "unable to place a task", id="no placement"),
    ],
)
def test_a_launch_that_fails_is_the_pools_trouble_and_no_attempts(
    world: World, cluster: Cluster, fault: dict[str, Any], reason: Reason, says: str
) -> None:
    """A task that ECS cannot start leaves its work queued: the pool says why, and no retry is used."""
    cluster.server.faults(**fault)
    cluster.serve(1, *SLEEPER, name="python")
    run = world.trigger("d")
    world.settle()
    found = until(lambda: look(world), lambda trouble: trouble[0] is not None)
    assert found[0] == reason
    assert says in (found[1] or "")
    for _ in range(5):
        look(world, 60)
    waits(world, run)
    assert len(world.events(reason)) == 1

    cluster.server.faults(startFailures=0, capacityFailures=0)
    cluster.stable(1, "python")
    until(lambda: look(world), lambda trouble: trouble == (None, None))
    world.work()
    assert world.phase(run) == "Succeeded"


@pytest.mark.pain("T9")
def test_what_ecs_does_not_list_is_not_gone(world: World, cluster: Cluster) -> None:
    """Read after write is not consistent on ECS: a worker that is heard keeps its attempt, however long ECS denies it."""
    cluster.serve(0, *SLEEPER, name="python")
    run = world.trigger("d")
    world.settle()
    world.worker("w1").ecs_task = f"arn:aws:ecs:us-east-1:000000000000:task/{cluster.name}/not-there-yet"
    (grant,) = world.claim()
    for _ in range(120):
        look(world)
        assert world.attempts(run) == ["Running"]
    assert world.report(grant) == "recorded"
    world.settle()
    assert world.phase(run) == "Succeeded"


@pytest.mark.pain("T9")
def test_stale_answers_lose_nobody(world: World, cluster: Cluster) -> None:
    """Answers of some seconds ago may show a service without tasks, and a task as it was before it started."""
    cluster.serve(1, *SLEEPER, name="python")
    (arn,) = cluster.stable(1, "python")
    cluster.server.faults(staleMilliseconds=30_000)
    run = world.trigger("d")
    world.settle()
    world.worker("w1").ecs_task = arn
    assert world.claim()
    for _ in range(30):
        look(world)
    assert world.attempts(run) == ["Running"]


@pytest.mark.pain("T11")
def test_throttled_calls_cost_no_attempt(world: World, cluster: Cluster) -> None:
    """Five hundred runs at once register no task definition, and every second call to ECS being throttled fails none."""
    cluster.serve(1, *SLEEPER, name="python")
    cluster.stable(1, "python")
    before = cluster.client.list_task_definitions()["taskDefinitionArns"]
    world.apply(dag("d", task("a"), concurrency={"maxActiveRuns": 500}))
    cluster.server.faults(throttleEvery=2)
    for n in range(500):
        world.trigger("d", key=f"run-{n}")
    world.work()
    cluster.server.faults(throttleEvery=0)
    assert world.rows("SELECT phase, count(*) FROM run GROUP BY phase") == [("Succeeded", 500)]
    assert world.rows("SELECT count(*) FROM attempt") == [(500,)]
    assert cluster.client.list_task_definitions()["taskDefinitionArns"] == before
