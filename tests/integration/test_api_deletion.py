"""DELETE, finalizers, rerun and clear, over HTTP and by the command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api_world import POOLS, World, dag, dataset, running, task
from tests.integration.test_cli_commands import setpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database

CHAIN = dag("chain", task("a"), task("b", ["a"]), task("c", ["b"]))
DONE = dict.fromkeys("abc", "Succeeded")


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with running(database) as world:
        world.apply(*POOLS, CHAIN)
        yield world


def ended(world: World, phase: str = "Succeeded", **phases: str) -> str:
    """Make a run that has ended, and return its name."""
    run = world.trigger("chain")
    uid = world.start(run, DONE | phases)
    world.end(uid, phase)
    return str(run["metadata"]["name"])


def phases(world: World) -> dict[str, str]:
    return dict(world.execute("SELECT task, phase FROM task_run"))  # type: ignore[arg-type]


def test_a_dag_with_runs_is_marked_and_held(world: World) -> None:
    ended(world)
    before = world.get("/dags/chain")
    response = world.call("DELETE", "/dags/chain?propagationPolicy=Foreground")
    assert (response.status_code, response.json()["details"]["finalizers"]) == (202, ["setpoint.dev/runs"])
    after = world.get("/dags/chain")
    assert after["metadata"]["deletionTimestamp"] == response.json()["details"]["deletionTimestamp"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["status"]["phase"] == "Terminating"
    (ready,) = [c for c in after["status"]["conditions"] if c["type"] == "Ready"]
    assert (ready["status"], ready["reason"], ready["message"]) == (
        "False",
        "Terminating",
        "it waits for setpoint.dev/runs",
    )
    # Again is harmless, and the first time stays.
    again = world.call("DELETE", "/dags/chain?propagationPolicy=Foreground")
    assert again.json()["details"] == response.json()["details"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "/dags/chain/trigger", {}, id="trigger"),
        pytest.param("POST", "/dags/chain/pause", None, id="pause"),
        pytest.param("PUT", "/dags/chain", CHAIN | {"spec": {"tasks": [task("x")]}}, id="apply"),
        pytest.param("POST", "/dagruns/{run}/rerun", {"from": ["a"]}, id="rerun"),
        pytest.param("PUT", "/dags/chain/finalizers", {"finalizers": ["example.com/late"]}, id="another finalizer"),
    ],
)
def test_what_is_going_takes_nothing_new(world: World, method: str, path: str, body: Any) -> None:
    run = ended(world)
    world.call("DELETE", "/dags/chain?propagationPolicy=Foreground")
    response = world.call(method, path.format(run=run), body)
    assert (response.status_code, "is being deleted" in response.json()["message"]) == (409, True)


def test_nothing_new_may_refer_to_what_is_going(world: World) -> None:
    world.apply(dataset("t", ("x", "int64")))
    world.call("PUT", "/datasets/t/finalizers", {"finalizers": ["example.com/archive"]})
    assert world.call("DELETE", "/datasets/t").status_code == 202
    reader = dag("reader", task("a", inputs={"t": {"dataset": "t"}}))
    response = world.call("POST", "/apply", {"resources": [reader]})
    assert response.status_code == 422
    assert "spec.tasks[0].inputs.t.dataset" in str(response.json()["details"]["problems"])


def test_somebody_elses_finalizer_holds_until_it_is_taken_away(world: World) -> None:
    world.apply(dataset("t", ("x", "int64")))
    held = world.call("PUT", "/datasets/t/finalizers", {"finalizers": ["example.com/archive"]})
    assert held.status_code == 200
    assert world.get("/datasets/t")["metadata"]["finalizers"] == ["example.com/archive"]
    # What an apply says nothing of stays.
    world.apply(dataset("t", ("x", "int64"), ("y", "int64")))
    assert world.get("/datasets/t")["metadata"]["finalizers"] == ["example.com/archive"]

    assert world.call("DELETE", "/datasets/t").status_code == 202
    assert world.get("/datasets/t")["status"]["phase"] == "Terminating"
    assert world.call("PUT", "/datasets/t/finalizers", {"finalizers": []}).status_code == 200
    assert world.call("GET", "/datasets/t").status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "code", "says"),
    [
        pytest.param("/dags/chain?propagationPolicy=Orphan", None, 400, "propagationPolicy", id="no such policy"),
        pytest.param("/dags/chain?resourceVersion=1", None, 409, "read it again", id="somebody changed it first"),
        pytest.param("/dags/none", None, 404, "there is no Dag", id="no such dag"),
        pytest.param("/dagruns/none", None, 404, "there is no DagRun", id="no such run"),
        pytest.param("/dags/chain/finalizers", {"finalizers": ["archive"]}, 400, "domain/name", id="no domain"),
        pytest.param("/dags/chain/finalizers", {"finalizers": "x"}, 400, "is a list", id="no list"),
    ],
)
def test_refusals(world: World, path: str, body: Any, code: int, says: str) -> None:
    response = world.call("PUT" if body else "DELETE", path, body)
    assert (response.status_code, says in response.json()["message"]) == (code, True), response.text


def test_a_dry_run_deletes_nothing(world: World) -> None:
    run = ended(world)
    assert world.call("DELETE", "/dags/chain?propagationPolicy=Foreground&dryRun=All").status_code == 202
    assert world.call("DELETE", f"/dagruns/{run}?dryRun=All").status_code == 200
    assert "deletionTimestamp" not in world.get("/dags/chain")["metadata"]
    assert world.call("GET", f"/dagruns/{run}").status_code == 200


def test_an_ended_run_is_deleted_with_its_tasks_and_events(world: World) -> None:
    run = ended(world)
    live = world.trigger("chain")["metadata"]["name"]
    assert world.call("DELETE", f"/dagruns/{live}").status_code == 409
    assert world.call("DELETE", f"/dagruns/{run}").status_code == 200
    assert world.call("GET", f"/dagruns/{run}").status_code == 404
    assert phases(world) == {}
    assert [e["name"] for e in world.get("/events")["items"] if e["kind"] == "DagRun"] == [live]


@pytest.mark.parametrize(
    ("verb", "body", "expected"),
    [
        pytest.param("rerun", {"from": ["b"]}, {"a": "Succeeded", "b": "Ready", "c": "Waiting"}, id="rerun"),
        pytest.param("clear", {"tasks": ["b"]}, {"a": "Succeeded", "b": "Ready", "c": "Succeeded"}, id="clear"),
    ],
)
def test_a_run_that_succeeded_is_opened_again(world: World, verb: str, body: Any, expected: dict[str, str]) -> None:
    run = ended(world)
    response = world.call("POST", f"/dagruns/{run}/{verb}", body, role="operator")
    assert (response.status_code, response.json()["status"]["phase"]) == (200, "Running")
    assert phases(world) == expected
    assert f"{verb.capitalize()}Requested" in [e["reason"] for e in world.get("/events")["items"]]


@pytest.mark.parametrize(
    ("verb", "body", "code", "says"),
    [
        pytest.param("rerun", {}, 400, "from is a list", id="rerun from nowhere"),
        pytest.param("clear", {"from": ["a"]}, 400, "a clear has tasks", id="a field of another verb"),
        pytest.param("rerun", {"from": ["x"]}, 422, "the run has no task x", id="no such task"),
        pytest.param("retry", {}, 409, "rerun it from a task", id="retry of what succeeded"),
    ],
)
def test_what_cannot_be_opened_again(world: World, verb: str, body: Any, code: int, says: str) -> None:
    run = ended(world)
    response = world.call("POST", f"/dagruns/{run}/{verb}", body)
    assert (response.status_code, says in response.json()["message"]) == (code, True), response.text
    assert phases(world) == DONE


def test_a_task_is_not_opened_in_a_pool_that_is_gone(world: World) -> None:
    run = ended(world)
    world.execute("DELETE FROM resource WHERE kind = 'WorkerPool' AND name = 'python'")
    response = world.call("POST", f"/dagruns/{run}/rerun", {"from": ["a"]})
    assert (response.status_code, "pool" in response.json()["message"]) == (409, True), response.text
    assert phases(world) == DONE


def test_a_run_in_progress_is_not_opened_again(world: World) -> None:
    run = world.trigger("chain")
    world.start(run, {"a": "Active", "b": "Waiting", "c": "Waiting"})
    response = world.call("POST", f"/dagruns/{run['metadata']['name']}/rerun", {"from": ["a"]})
    assert (response.status_code, "only an ended run" in response.json()["message"]) == (409, True)


def test_commands(world: World) -> None:
    run = ended(world)
    assert setpoint(world, "rerun", f"run/{run}", "--from", "b") == f"run/{run} opened again\n"
    uid = world.get(f"/dagruns/{run}")["metadata"]["uid"]
    world.execute("UPDATE task_run SET phase = 'Succeeded', ended_at = now() WHERE ended_at IS NULL")
    world.end(uid, "Succeeded")
    assert setpoint(world, "clear", f"run/{run}", "--task", "b") == f"run/{run} opened again\n"
    world.execute("UPDATE task_run SET phase = 'Succeeded', ended_at = now() WHERE ended_at IS NULL")
    world.end(uid, "Succeeded")

    assert "--cascade" in setpoint(world, "delete", "dag/chain", code=4)
    assert setpoint(world, "delete", "dag/chain", "--cascade", "--dry-run") == "dag/chain can be deleted\n"
    assert setpoint(world, "delete", f"run/{run}") == f"run/{run} deleted\n"
    ended(world)
    held = "dag/chain is being deleted; it waits for setpoint.dev/runs\n"
    assert setpoint(world, "delete", "dag/chain", "--cascade", "--no-wait") == held
    # Nobody reconciles here, so it stays.
    assert "is not gone after 1 s" in setpoint(world, "delete", "dag/chain", "--cascade", "--timeout", "1", code=1)
    assert "Terminating" in setpoint(world, "get", "dag/chain")
