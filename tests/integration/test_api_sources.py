"""POST /v1/events: ticks and ECS state changes only say where to look; a webhook's run is there before the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api_world import POOLS, World, dag, running, task

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.conftest import Database

ORDERS = dag(
    "orders",
    task("a"),
    params={"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]},
    triggers=[{"webhook": {"path": "shop/orders"}}],
)
AUDIT = dag(
    "audit",
    task("a"),
    params={"type": "object", "properties": {"event": {}}},
    triggers=[{"name": "shop", "webhook": {"path": "shop/orders", "param": "event"}}],
)


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with running(database) as world:
        world.apply(*POOLS, ORDERS, AUDIT, dag("hourly", task("a"), schedules=[{"cron": "0 * * * *"}]))
        world.woken.clear()
        yield world


def tell(world: World, body: Any, token: str = "sources") -> httpx.Response:
    return world.call("POST", "/v1/events", body, role=token)


def hook(world: World, body: Any, key: str = "k", path: str = "shop/orders") -> httpx.Response:
    return tell(world, {"type": "webhook", "path": path, "key": key, "body": body})


def runs(world: World) -> list[tuple[Any, ...]]:
    return world.execute("SELECT dag, trigger, params FROM run ORDER BY dag")


def test_a_webhook_starts_every_dag_that_listens(world: World) -> None:
    answer = hook(world, {"order": 7})
    assert answer.status_code == 200
    assert [run["created"] for run in answer.json()["runs"]] == [True, True]
    assert runs(world) == [
        ("audit", "webhook", {"event": {"order": 7}}),
        ("orders", "webhook", {"order": 7}),
    ]
    assert {key.kind for key in world.woken} == {"dag"}
    name = answer.json()["runs"][0]["name"]
    assert world.get(f"/dagruns/{name}")["spec"]["trigger"] == "webhook"


def test_the_same_key_makes_no_second_run(world: World) -> None:
    first, second = hook(world, {"order": 7}).json()["runs"], hook(world, {"order": 8}).json()["runs"]
    assert [run["name"] for run in second] == [run["name"] for run in first]
    assert not any(run["created"] for run in second)
    assert hook(world, {"order": 8}, key="other").json()["runs"][0]["created"]
    assert len(runs(world)) == 4


def test_a_body_that_one_dag_refuses_starts_none(world: World) -> None:
    answer = hook(world, {"order": "seven"})
    assert answer.status_code == 422
    assert "params.order" in answer.json()["message"]
    assert hook(world, [1]).status_code == 400
    assert not runs(world)


def test_nobody_listens(world: World) -> None:
    answer = hook(world, {}, path="shop/returns")
    assert answer.status_code == 404
    assert "shop/returns" in answer.json()["message"]


def test_a_trigger_that_was_edited_away_listens_no_more(world: World) -> None:
    world.apply({**ORDERS, "spec": {**ORDERS["spec"], "triggers": []}})
    world.apply(
        {**AUDIT, "spec": {**AUDIT["spec"], "triggers": [{"webhook": {"path": "shop/audit", "param": "event"}}]}}
    )
    assert hook(world, {"order": 7}).status_code == 404
    assert hook(world, 5, path="shop/audit").status_code == 200


def test_a_tick_looks_at_schedules_and_at_nothing_else(world: World) -> None:
    assert tell(world, {"type": "cron"}).status_code == 202
    ((hourly,),) = world.execute("SELECT uid FROM resource WHERE name = 'hourly'")
    assert [key.uid for key in world.woken] == [hourly]


@pytest.mark.parametrize(("name", "looks"), [("hourly", 1), ("unknown", 0)])
def test_a_rules_tick_looks_at_its_dag_if_there_is_one(world: World, name: str, looks: int) -> None:
    answer = tell(world, {"type": "cron", "namespace": "default", "dag": name, "schedule": "default"})
    assert answer.status_code == 202
    assert len(world.woken) == looks
    assert not runs(world)


@pytest.mark.parametrize("shape", [{"type": "ecs"}, {"detail-type": "ECS Task State Change"}], ids=["lambda", "raw"])
@pytest.mark.parametrize(("status", "looks"), [("STOPPED", 1), ("RUNNING", 0)])
def test_a_stopped_task_looks_at_its_pool(world: World, shape: dict[str, str], status: str, looks: int) -> None:
    ((pool,),) = world.execute("SELECT uid FROM resource WHERE kind = 'WorkerPool' AND name = 'python'")
    world.execute(
        """INSERT INTO worker (id, pool_uid, ecs_task, started_at, renewed_at, heartbeat_by)
           VALUES ('w', %(pool)s, 'arn:task', now(), now(), now())""",
        pool=pool,
    )
    answer = tell(world, {**shape, "detail": {"taskArn": "arn:task", "lastStatus": status}})
    assert answer.status_code == 202
    assert [tuple(key) for key in world.woken] == [("pool", pool)] * looks


@pytest.mark.parametrize(
    ("token", "code"), [("sources", 202), ("old-sources", 202), ("pools/python", 401), ("admin", 401), ("", 401)]
)
def test_only_the_sources_current_and_previous_tokens_open_it(world: World, token: str, code: int) -> None:
    assert tell(world, {"type": "cron"}, token=token).status_code == code
