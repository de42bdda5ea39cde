"""Runs over HTTP: trigger, cancel, pause, retry, explain, logs, events, watches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import obstore
import pytest

from controller.runtime.keys import Kind
from crds.kinds import KINDS
from crds.names import AttemptId, log_prefix
from tests.integration.api_world import DIAMOND, NAMESPACE, POOLS, World, dag, running, task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with running(database) as world:
        world.apply(*POOLS, DIAMOND)
        world.woken.clear()
        yield world


def phases(world: World, run: dict[str, Any]) -> dict[str, str]:
    name = run["metadata"]["name"]
    items = world.get(f"/taskruns?fieldSelector=run={name}")["items"]
    return {item["spec"]["task"]: item["status"]["phase"] for item in items}


def test_a_trigger_makes_a_pending_run_and_wakes_its_dag(world: World) -> None:
    run = world.trigger("diamond", params={"n": 1}, labels={"by": "hand"})

    assert run["metadata"]["name"] == f"diamond-{run['metadata']['uid']}"
    assert (run["spec"]["revision"], run["spec"]["params"], run["status"]["phase"]) == (1, {"n": 1}, "Pending")
    assert [key.kind for key in world.woken] == [Kind.DAG]
    (event,) = world.get(f"/events?for=run/{run['metadata']['name']}")["items"]
    assert (event["reason"], event["message"]) == ("Triggered", "triggered by admin, revision 1")


def test_the_same_key_gives_the_same_run(world: World) -> None:
    first = world.call("POST", "/dags/diamond/trigger", {"idempotencyKey": "today"})
    second = world.call("POST", "/dags/diamond/trigger", {"idempotencyKey": "today"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["metadata"]["uid"] == second.json()["metadata"]["uid"]


def test_parameters_take_defaults_and_must_fit(world: World) -> None:
    schema = {
        "type": "object",
        "properties": {"day": {"type": "string", "default": "monday"}, "n": {"type": "integer"}},
        "required": ["n"],
    }
    world.apply(dag("typed", task("a"), params=schema))

    assert world.trigger("typed", params={"n": 2})["spec"]["params"] == {"day": "monday", "n": 2}
    response = world.call("POST", "/dags/typed/trigger", {"params": {"n": "two"}})
    assert response.status_code == 422
    (problem,) = response.json()["details"]["problems"]
    assert problem["field"] == "params.n"


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        pytest.param("POST", "/dags/none/trigger", {}, 404, id="no such dag"),
        pytest.param("POST", "/dags/diamond/trigger", {"parms": {}}, 400, id="misspelt field"),
        pytest.param("POST", "/dags/diamond/trigger", {"params": []}, 400, id="params no object"),
        pytest.param("POST", "/dagruns/none/cancel", None, 404, id="no such run"),
        pytest.param("GET", "/taskruns/none", None, 404, id="no task run name"),
        pytest.param("GET", "/taskruns/none.a/logs", None, 404, id="logs of no run"),
        pytest.param("GET", "/dagruns?limit=x", None, 400, id="limit no number"),
        pytest.param("GET", "/dagruns?limit=501", None, 400, id="limit too high"),
        pytest.param("GET", "/dagruns?continue=x", None, 410, id="strange token"),
        pytest.param("GET", "/dagruns?fieldSelector=x=1", None, 400, id="unknown field"),
        pytest.param("GET", "/dags?labelSelector=a~b", None, 400, id="no label selector"),
        pytest.param("GET", "/events?for=rum/x", None, 400, id="unknown kind"),
    ],
)
def test_refusals_say_why(world: World, method: str, path: str, body: Any, code: int) -> None:
    response = world.call(method, path, body)
    assert response.status_code == code, response.text
    status = response.json()
    assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", code)
    assert len(status["message"]) > 10


@pytest.mark.parametrize(
    ("role", "method", "path", "code"),
    [
        pytest.param("viewer", "GET", "/dags", 200, id="a viewer reads"),
        pytest.param("viewer", "POST", "/dags/diamond/trigger", 403, id="a viewer does not trigger"),
        pytest.param("operator", "POST", "/dags/diamond/trigger", 201, id="an operator triggers"),
        pytest.param("operator", "DELETE", "/dags/diamond", 403, id="an operator does not delete"),
        pytest.param("admin", "DELETE", "/dags/diamond", 200, id="an admin deletes"),
        pytest.param("nobody", "GET", "/dags", 401, id="an unknown token"),
    ],
)
def test_roles(world: World, role: str, method: str, path: str, code: int) -> None:
    assert world.call(method, path, role=role).status_code == code


def test_an_expired_token_is_refused(world: World) -> None:
    world.execute("UPDATE api_token SET expires_at = now() - interval '1 s' WHERE name = 'viewer'")
    response = world.call("GET", "/dags", role="viewer")
    assert response.status_code == 401
    assert "has expired" in response.json()["message"]


def test_cancel_is_asked_for_once(world: World) -> None:
    run = world.trigger("diamond")
    name = run["metadata"]["name"]
    first = world.call("POST", f"/dagruns/{name}/cancel").json()
    at = world.execute("SELECT cancel_at, cancel_reason FROM run")
    assert first["spec"]["cancel"] is True
    assert at[0][1] == "Cancelled"

    assert world.call("POST", f"/dagruns/{name}/cancel").status_code == 200
    assert world.execute("SELECT cancel_at, cancel_reason FROM run") == at
    assert {key.kind for key in world.woken} == {Kind.DAG, Kind.RUN}

    world.end(run["metadata"]["uid"], "Succeeded")
    assert world.call("POST", f"/dagruns/{name}/cancel").status_code == 409


def test_pausing_a_run_holds_its_ready_tasks(world: World) -> None:
    run = world.trigger("diamond")
    name = run["metadata"]["name"]
    world.start(run, {"a": "Succeeded", "b": "Ready", "c": "Ready", "d": "Waiting"})

    paused = world.call("POST", f"/dagruns/{name}/pause").json()
    assert paused["spec"]["suspend"] is True
    assert world.execute("SELECT count(*) FROM task_run WHERE held") == [(2,)]
    assert {c["type"]: c["reason"] for c in paused["status"]["conditions"]}["Stalled"] == "Suspended"

    world.woken.clear()
    world.call("POST", f"/dagruns/{name}/resume")
    assert world.execute("SELECT count(*) FROM task_run WHERE held") == [(0,)]
    assert Kind.POOL in {key.kind for key in world.woken}


def test_retry_opens_what_failed_and_what_lies_below(world: World) -> None:
    run = world.trigger("diamond")
    name = run["metadata"]["name"]
    uid = world.start(run, {"a": "Succeeded", "b": "Failed", "c": "Succeeded", "d": "UpstreamFailed"})
    world.execute("UPDATE task_run SET number = 3, user_failures = 3 WHERE task = 'b'")
    assert world.call("POST", f"/dagruns/{name}/retry").status_code == 409
    world.end(uid, "Failed")

    again = world.call("POST", f"/dagruns/{name}/retry").json()

    assert (again["status"]["phase"], again["metadata"]["generation"]) == ("Running", 2)
    assert phases(world, run) == {"a": "Succeeded", "b": "Ready", "c": "Succeeded", "d": "Waiting"}
    rows = world.execute("SELECT number, user_failures, generation, fresh FROM task_run WHERE task = 'b'")
    assert rows == [(3, 0, 2, False)]
    assert {key.kind for key in world.woken} >= {Kind.RUN, Kind.DAG, Kind.POOL}


def test_retrying_one_task_leaves_its_neighbours(world: World) -> None:
    run = world.trigger("diamond")
    name = run["metadata"]["name"]
    uid = world.start(run, {"a": "Succeeded", "b": "Failed", "c": "Failed", "d": "UpstreamFailed"})
    world.end(uid, "Failed")

    refused = world.call("POST", f"/taskruns/{name}.d/retry")
    assert refused.status_code == 422
    assert "retry the task that failed above it" in refused.json()["message"]

    assert world.call("POST", f"/taskruns/{name}.b/retry").json()["status"]["phase"] == "Ready"
    assert phases(world, run) == {"a": "Succeeded", "b": "Ready", "c": "Failed", "d": "UpstreamFailed"}


def test_objects_are_what_the_models_say(world: World) -> None:
    run = world.trigger("diamond")
    uid = world.start(run, {"a": "Active", "b": "Waiting", "c": "Backoff", "d": "Waiting"})
    world.attempt(uid, "a", "Running")
    for kind in KINDS.values():
        for item in world.get(f"/{kind.plural}")["items"]:
            # The names of runs and their tasks are longer than those that people choose.
            kind.model.model_validate(item | {"metadata": item["metadata"] | {"name": "x"}})
            assert world.get(f"/{kind.plural}/{item['metadata']['name']}")["metadata"] == item["metadata"]


def test_lists_come_in_pages(world: World) -> None:
    names = [world.trigger("diamond")["metadata"]["name"] for _ in range(5)]
    found: list[str] = []
    token = ""
    while True:
        page = world.get(f"/dagruns?limit=2&continue={token}")
        found += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert found == names[::-1]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param("team=x", {"a"}, id="equal"),
        pytest.param("team!=x", {"b", "c"}, id="not equal, also absent"),
        pytest.param("team", {"a", "b"}, id="present"),
        pytest.param("!team", {"c"}, id="absent"),
        pytest.param("team in (x, y),tier=1", {"b"}, id="in a set, and another"),
        pytest.param("team notin (x)", {"b", "c"}, id="not in a set"),
    ],
)
def test_label_selectors(world: World, selector: str, expected: set[str]) -> None:
    for name, labels in (("a", {"team": "x"}), ("b", {"team": "y", "tier": "1"}), ("c", {})):
        world.apply(dag(name, task("t")) | {"metadata": {"name": name, "labels": labels}})
    with world.client() as client:
        items = client.get(f"{NAMESPACE}/dags", params={"labelSelector": selector}).json()["items"]
    assert {item["metadata"]["name"] for item in items} - {"diamond"} == expected


def test_explain_says_what_each_task_waits_for(world: World) -> None:
    run = world.trigger("diamond")
    name = run["metadata"]["name"]
    pending = world.get(f"/dagruns/{name}/explain")
    assert "diamond has room" in pending["message"]
    uid = world.start(run, {"a": "Active", "b": "Backoff", "c": "Ready", "d": "Waiting"})
    world.attempt(uid, "a", "Queued")
    world.execute("UPDATE task_run SET user_failures = 1, message = 'ValueError: no' WHERE task = 'b'")

    lines = {line["task"]: line["message"] for line in world.get(f"/dagruns/{name}/explain")["tasks"]}

    assert "pool python has 0 of 2 workers" in lines["a"]
    assert "(1 of 3 tries used: ValueError: no)" in lines["b"]
    assert "a slot in pool python is free (1 of 2 in use)" in lines["c"]
    assert lines["d"] == "waits for upstream b (Backoff), c (Ready)"
    assert world.get(f"/taskruns/{name}.d/explain")["message"] == lines["d"]
    assert "1 of 2 slots in use, 1 tasks wait" in world.get("/workerpools/python/explain")["message"]
    assert "its runs are triggered" in world.get("/dags/diamond/explain")["message"]


def test_logs_are_the_chunks_in_order(world: World) -> None:
    run = world.trigger("diamond")
    name = run["metadata"]["name"]
    uid = world.start(run, {"a": "Succeeded", "b": "Failed", "c": "Active", "d": "Waiting"})
    for attempt, chunks in (
        (world.attempt(uid, "a", "Failed"), [b"no\n"]),
        (world.attempt(uid, "a", "Succeeded", 2), [b"one\ntw", b"o\n"]),
        (world.attempt(uid, "b", "Failed"), [b"boom"]),
    ):
        write_log(world, attempt, *chunks)

    assert world.call("GET", f"/taskruns/{name}.a/logs").text == "one\ntwo\n"
    assert world.call("GET", f"/taskruns/{name}.a/logs?attempt=1").text == "no\n"
    assert world.call("GET", f"/taskruns/{name}.a/logs?attempt=7").status_code == 404
    assert world.call("GET", f"/dagruns/{name}/logs").text == "a | no\na | one\na | two\nb | boom\n"


def write_log(world: World, attempt: str, *chunks: bytes, first: int = 1) -> None:
    for number, chunk in enumerate(chunks, first):
        obstore.put(world.objects, f"{log_prefix(AttemptId(attempt))}{number:06d}.log", chunk)


def test_following_a_log_ends_with_its_task(world: World) -> None:
    run = world.trigger("diamond")
    uid = world.start(run, {"a": "Active"})
    attempt = world.attempt(uid, "a", "Running")
    write_log(world, attempt, b"first\n")
    with (
        world.client() as client,
        client.stream("GET", f"{NAMESPACE}/taskruns/{run['metadata']['name']}.a/logs?follow=true") as response,
    ):
        lines = response.iter_lines()
        assert next(lines) == "first"
        write_log(world, attempt, b"second\n", first=2)
        assert next(lines) == "second"
        world.execute("UPDATE attempt SET phase = 'Succeeded', ended_at = now()")
        world.execute("UPDATE task_run SET phase = 'Succeeded', ended_at = now()")
        assert list(lines) == []


def test_a_watch_tells_additions_changes_and_deletions(world: World) -> None:
    with world.client() as client, client.stream("GET", f"{NAMESPACE}/dags?watch=true") as response:
        changes = (json.loads(line) for line in response.iter_lines() if line)
        seen = [next(changes)]
        world.apply(dag("new", task("a")))
        seen.append(next(changes))
        world.apply(dag("new", task("a"), task("b")))
        seen.append(next(changes))
        world.call("DELETE", "/dags/new")
        seen.append(next(changes))
    told = [(c["type"], c["object"]["metadata"]["name"], c["object"]["metadata"]["generation"]) for c in seen]
    assert told == [("ADDED", "diamond", 1), ("ADDED", "new", 1), ("MODIFIED", "new", 2), ("DELETED", "new", 2)]


def test_events_can_be_watched(world: World) -> None:
    with world.client() as client, client.stream("GET", f"{NAMESPACE}/events?for=dag/diamond&watch=true") as response:
        events = (json.loads(line)["object"] for line in response.iter_lines() if line)
        assert next(events)["reason"] == "Created"
        world.call("POST", "/dags/diamond/pause")
        assert next(events)["reason"] == "Suspended"


def test_every_route_is_described(world: World) -> None:
    with world.client() as client:
        document = client.get("/openapi.json").json()
    assert len(document["paths"]) > 25
    references = set(json.dumps(document).split("#/components/schemas/")[1:])
    names = {reference.partition('"')[0] for reference in references}
    assert names <= set(document["components"]["schemas"])
