"""Applying resources over HTTP: all or nothing, generations, revisions, conflicts."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api_world import DIAMOND, POOLS, World, dag, dataset, running, task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with running(database) as world:
        world.apply(*POOLS)
        world.woken.clear()
        yield world


def problems(world: World, *resources: Any) -> list[str]:
    response = world.call("POST", "/apply", {"resources": list(resources)})
    assert response.status_code == 422, response.text
    return [f"{p.get('name')}: {p.get('field')}: {p['message']}" for p in response.json()["details"]["problems"]]


def test_a_new_dag_has_revision_edges_and_cursors(world: World) -> None:
    (item,) = world.apply(DIAMOND | {"spec": DIAMOND["spec"] | {"schedules": [{"cron": "0 3 * * *"}]}})

    assert (item["action"], item["generation"], item["revision"]) == ("created", 1, 1)
    assert item["nextTick"].endswith("T03:00:00Z")
    edges = world.execute("SELECT task, upstream FROM revision_edge ORDER BY 1, 2")
    assert edges == [("b", "a"), ("c", "a"), ("d", "b"), ("d", "c")]
    assert world.execute("SELECT schedule FROM schedule_cursor") == [("default",)]
    stored = world.get("/dags/diamond")
    assert {c["type"]: c["status"] for c in stored["status"]["conditions"]} == dict.fromkeys(
        ("Ready", "Valid", "Synced", "Scheduled"), "True"
    )


def test_applying_the_same_again_changes_nothing(world: World) -> None:
    world.apply(DIAMOND)
    version = world.get("/dags/diamond")["metadata"]["resourceVersion"]

    (item,) = world.apply(DIAMOND)

    assert (item["action"], item["changes"]) == ("unchanged", [])
    assert world.get("/dags/diamond")["metadata"]["resourceVersion"] == version
    assert len(world.execute("SELECT 1 FROM revision")) == 1


def test_a_spec_change_is_a_generation_and_a_label_is_not(world: World) -> None:
    world.apply(DIAMOND)
    labelled = DIAMOND | {"metadata": {"name": "diamond", "labels": {"team": "x"}}}
    (label,) = world.apply(labelled)
    (spec,) = world.apply(labelled | {"spec": DIAMOND["spec"] | {"description": "new"}})

    assert (label["action"], label["generation"]) == ("configured", 1)
    assert label["changes"] == [{"path": "metadata.labels.team", "from": None, "to": "x"}]
    assert (spec["action"], spec["generation"]) == ("configured", 2)
    assert spec["changes"] == [{"path": "spec.description", "from": "", "to": "new"}]
    assert world.execute("SELECT generation FROM revision ORDER BY 1") == [(1,), (2,)]


def test_a_changed_task_is_named_in_the_changes(world: World) -> None:
    world.apply(dag("d", task("a"), task("b")))
    (item,) = world.apply(dag("d", task("a"), task("b", ["a"]), task("c")))
    assert [c["path"] for c in item["changes"]] == ["spec.tasks[b].needs", "spec.tasks[c]"]


def test_one_bad_resource_keeps_all_out(world: World) -> None:
    found = problems(world, dag("good", task("a")), dag("bad", task("a", ["missing"]), task("b", pool="nowhere")))

    assert found == [
        'bad: spec.tasks[0].needs[0]: unknown task "missing"',
        'bad: spec.tasks[1].pool: unknown pool "nowhere"',
    ]
    assert world.get("/dags")["items"] == []


def test_unknown_fields_of_all_documents_are_told_at_once(world: World) -> None:
    found = problems(
        world, dag("one", task("a") | {"need": []}), {"kind": "Dat", "metadata": {"name": "two"}, "spec": {}}
    )
    assert [line.partition(":")[0] for line in found] == ["one", "two"]


def test_a_dry_run_checks_and_changes_nothing(world: World) -> None:
    response = world.call("POST", "/apply?dryRun=All", {"resources": [DIAMOND, dataset("t", ("x", "int64"))]})

    assert [i["action"] for i in response.json()["items"]] == ["created", "created"]
    assert world.get("/dags")["items"] == []
    assert world.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'hot'") == []
    assert not world.woken


def test_a_stale_resource_version_is_a_conflict(world: World) -> None:
    world.apply(DIAMOND)
    stale = DIAMOND | {"metadata": {"name": "diamond", "resourceVersion": "1"}}
    response = world.call("PUT", "/dags/diamond", stale)
    assert (response.status_code, response.json()["reason"]) == (409, "Conflict")

    current = world.get("/dags/diamond")
    response = world.call("PUT", "/dags/diamond", current | {"spec": current["spec"] | {"suspend": True}})
    assert (response.status_code, response.json()["generation"]) == (200, 2)


def test_what_get_prints_can_be_applied_again(world: World) -> None:
    world.apply(DIAMOND, dataset("t", ("x", "int64")))
    for path in ("/dags/diamond", "/datasets/t", "/workerpools/python"):
        assert world.call("PUT", path, world.get(path)).json()["action"] == "unchanged"


def test_a_hot_dataset_gets_its_table_and_refuses_a_rewrite(world: World) -> None:
    world.apply(dataset("t", ("x", "int64")))
    world.apply(dataset("t", ("x", "int64"), ("y", "string")))
    columns = world.execute("SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'hot'")
    assert sorted(columns) == [("x", "bigint"), ("y", "text")]

    (found,) = problems(world, dataset("t", ("x", "string"), ("y", "string")))
    assert "spec.columns" in found
    assert "wants text" in found
    (tier,) = problems(world, dataset("t", ("x", "int64"), ("y", "string"), tier="cold"))
    assert "spec.tier" in tier


def test_a_queue_belongs_to_one_pool(world: World) -> None:
    twin = {
        "kind": "WorkerPool",
        "metadata": {"name": "twin"},
        "spec": {"runtime": "python", "queue": "setpoint-python.fifo"},
    }
    (found,) = problems(world, twin)
    assert "belongs to the pool" in found


def test_a_used_pool_keeps_its_runtime(world: World) -> None:
    world.apply(DIAMOND)
    pool = {"kind": "WorkerPool", "metadata": {"name": "python"}, "spec": {"runtime": "polars"}}
    (found,) = problems(world, pool)
    assert found == "python: spec.runtime: cannot change while tasks of diamond run in this pool"


def test_a_bundle_must_be_stored_first(world: World) -> None:
    digest = "0" * 64
    (found,) = problems(world, dag("d", task("a"), bundle=digest))
    assert f"PUT /v1/bundles/{digest} first" in found

    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("main.py", "def run(): ...\n")
    stored = world.bundle(code.getvalue())
    world.apply(dag("d", task("a"), bundle=stored))
    with world.client("viewer") as client:
        assert client.head(f"/v1/bundles/{stored}").status_code == 200
        assert client.head(f"/v1/bundles/{digest}").status_code == 404
        wrong = world.call("PUT", f"/v1/bundles/{digest}", {"not": "it"})
    assert wrong.status_code == 400


def test_schedules_come_and_go_with_their_cursors(world: World) -> None:
    world.apply(dag("d", task("a"), schedules=[{"name": "x", "cron": "@daily"}, {"name": "y", "cron": "@daily"}]))
    before = world.execute("SELECT cursor FROM schedule_cursor WHERE schedule = 'y'")
    world.apply(dag("d", task("a"), schedules=[{"name": "y", "cron": "@hourly"}, {"name": "z", "cron": "@daily"}]))
    assert world.execute("SELECT schedule FROM schedule_cursor ORDER BY 1") == [("y",), ("z",)]
    assert world.execute("SELECT cursor FROM schedule_cursor WHERE schedule = 'y'") == before


def test_a_pause_survives_the_next_apply_but_not_an_explicit_word(world: World) -> None:
    world.apply(DIAMOND)
    paused = world.call("POST", "/dags/diamond/pause").json()
    assert (paused["spec"]["suspend"], paused["metadata"]["generation"]) == (True, 2)

    world.apply(DIAMOND | {"spec": DIAMOND["spec"] | {"description": "saved"}})
    assert world.get("/dags/diamond")["spec"]["suspend"] is True

    world.apply(DIAMOND | {"spec": DIAMOND["spec"] | {"suspend": False}})
    after = world.get("/dags/diamond")
    assert (after["spec"]["suspend"], after["metadata"]["annotations"]) == (False, {})


@pytest.mark.parametrize(
    ("path", "says"),
    [
        pytest.param("/workerpools/python", "tasks of user run in it", id="pool"),
        pytest.param("/datasets/t", "tasks of user read or write it", id="dataset"),
        pytest.param("/dags/user", "it has 1 runs", id="dag with history"),
    ],
)
def test_what_is_referred_to_stays(world: World, path: str, says: str) -> None:
    world.apply(dataset("t", ("x", "int64")), dag("user", task("a", inputs={"t": {"dataset": "t"}})))
    world.trigger("user")
    response = world.call("DELETE", path)
    assert response.status_code == 409
    assert says in response.json()["message"]


def test_what_nothing_refers_to_goes(world: World) -> None:
    world.apply(dataset("t", ("x", "int64")), DIAMOND)
    for path in ("/datasets/t", "/dags/diamond"):
        assert world.call("DELETE", path).status_code == 200
        assert world.call("GET", path).status_code == 404
    reasons = [e["reason"] for e in world.get("/events")["items"]]
    assert reasons.count("Deleted") == 2
