"""The worker protocol: what no worker of ours would send, from someone who has a pool's token, or an attempt's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from controller.api.sources import SOURCES
from tests.hostile.hostile_world import POOL_TOKENS

if TYPE_CHECKING:
    from tests.hostile.hostile_world import Doors

MIB = 2**20
CLAIM = {"request": "r", "worker": "w", "pool": "python", "attempts": []}
BEAT = {"worker": "w", "pool": "python", "attempts": []}
REPORTS = {"worker": "w", "pool": "python"}


def report(**more: Any) -> dict[str, Any]:
    return {**REPORTS, "reports": [{"attempt": "a/b/0/1", "token": "t", "outcome": "succeeded", **more}]}


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        pytest.param("/v1/claims", b"", 400, id="nothing"),
        pytest.param("/v1/claims", b"[]", 400, id="a list"),
        pytest.param("/v1/claims", b"\xef\xbb\xbf{}", 400, id="a byte order mark"),
        pytest.param("/v1/claims", b'{"request": "\xff"}', 400, id="no UTF-8"),
        pytest.param("/v1/claims", b'{"request": "\\ud800"}', 400, id="half a surrogate pair"),
        pytest.param("/v1/claims", b'{"request": ' + b"[" * 100_000, 400, id="100,000 brackets"),
        pytest.param(
            "/v1/claims", b'{"unknown": ' + b"[" * 9_000 + b"]" * 9_000 + b"}", 400, id="a deep unknown field"
        ),
        pytest.param("/v1/claims", b" " * (9 * MIB), 413, id="9 MiB"),
        pytest.param("/v1/claims", {**CLAIM, "attempts": [5]}, 400, id="a number for an attempt"),
        pytest.param(
            "/v1/claims", {**CLAIM, "attempts": [{"attempt": "a", "delivery": "1"}]}, 400, id="text for a delivery"
        ),
        pytest.param(
            "/v1/claims", {**CLAIM, "attempts": [{"attempt": "a", "delivery": 1}] * 257}, 400, id="257 attempts"
        ),
        pytest.param(
            "/v1/claims", {**CLAIM, "attempts": [{"attempt": "\0", "delivery": 1}]}, 400, id="NUL in an attempt"
        ),
        pytest.param(
            "/v1/claims", {**CLAIM, "attempts": [{"attempt": "a" * 513, "delivery": 1}]}, 400, id="a long attempt"
        ),
        pytest.param("/v1/claims", {**CLAIM, "request": "\0"}, 400, id="NUL in a request"),
        pytest.param("/v1/claims", {**CLAIM, "worker": ""}, 400, id="no worker"),
        pytest.param("/v1/claims", {**CLAIM, "worker": "w" * 1_000_000}, 400, id="a worker of 1 MB"),
        pytest.param("/v1/claims", {**CLAIM, "ecsTask": "t" * 1_000_000}, 400, id="an ECS task of 1 MB"),
        pytest.param("/v1/claims", {**CLAIM, "ecsTask": "\0"}, 400, id="NUL in an ECS task"),
        pytest.param("/v1/claims", {**CLAIM, "namespace": "'; DROP TABLE run; --"}, 400, id="SQL for a namespace"),
        pytest.param("/v1/claims", {**CLAIM, "namespace": "elsewhere"}, 404, id="another namespace"),
        pytest.param("/v1/heartbeats", {**BEAT, "slots": -1}, 400, id="-1 slots"),
        pytest.param("/v1/heartbeats", {**BEAT, "slots": 10**30}, 400, id="10^30 slots"),
        pytest.param("/v1/heartbeats", {**BEAT, "attempts": ["\0"]}, 400, id="NUL in a heartbeat"),
        pytest.param("/v1/heartbeats", {**BEAT, "attempts": ["a"] * 257}, 400, id="a heartbeat of 257"),
        pytest.param("/v1/heartbeats", {**BEAT, "progress": {"a": {"rows": "x"}}}, 400, id="text for rows"),
        pytest.param("/v1/reports", report(outcome="Succeeded"), 400, id="an unknown outcome"),
        pytest.param("/v1/reports", report(outputs=[1]), 400, id="a list of outputs"),
        pytest.param("/v1/reports", report(metrics={f"m{n}": 1 for n in range(101)}), 400, id="101 metrics"),
        pytest.param("/v1/reports", report(metrics={"\0": 1}), 400, id="NUL in a metric"),
        pytest.param("/v1/reports", report(token="t" * 513), 400, id="a long token"),
        pytest.param("/v1/reports", {**REPORTS, "reports": report()["reports"] * 257}, 400, id="257 reports"),
        pytest.param("/v1/reports", json.dumps(report(metrics={"a": 5})).replace("5", "NaN").encode(), 400, id="NaN"),
        pytest.param(
            "/v1/reports", json.dumps(report(outputs={"a": 5})).replace("5", "1e999").encode(), 400, id="1e999"
        ),
        pytest.param(
            "/v1/reports",
            json.dumps(report(outputs={"a": 5})).replace("5", "[" * 9_000 + "]" * 9_000).encode(),
            400,
            id="deep",
        ),
        pytest.param("/v1/reports", report(outputs={"a": "x" * 9 * MIB}), 413, id="9 MiB of outputs"),
    ],
)
def test_what_is_no_request(unchanged: Doors, path: str, body: Any, code: int) -> None:
    answer = unchanged.work(path, body)
    assert answer.status_code == code, answer.text[:300]
    unchanged.refused(answer)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        pytest.param(b"", 400, id="nothing"),
        pytest.param(b"{" * 100_000, 400, id="100,000 braces"),
        pytest.param(b"[" * 9_000 + b"]" * 9_000, 400, id="9,000 lists"),
        pytest.param(b'"\\ud800"', 400, id="half a surrogate pair"),
        pytest.param(b"\xff", 400, id="no UTF-8"),
        pytest.param(b"NaN", 400, id="NaN"),
        pytest.param(b" " * (9 * MIB), 413, id="9 MiB"),
        pytest.param({"type": "ecs", "detail": {"taskArn": "\0", "lastStatus": "STOPPED"}}, 400, id="NUL in a task"),
        pytest.param(
            {"type": "ecs", "detail": {"taskArn": "t" * MIB, "lastStatus": "STOPPED"}}, 413, id="a task of 1 MiB"
        ),
        pytest.param({"type": "ecs", "detail": {"taskArn": "t" * 600, "lastStatus": "STOPPED"}}, 400, id="a long task"),
        pytest.param({"type": "ecs", "detail": {"taskArn": 5, "lastStatus": "STOPPED"}}, 400, id="a number for a task"),
        pytest.param(
            {"type": "ecs", "detail": {"taskArn": "x", "lastStatus": ["STOPPED"]}}, 202, id="a list for a status"
        ),
        pytest.param({"type": "ecs", "detail": "x"}, 202, id="no detail"),
        pytest.param(
            {"type": "ecs", "detail": {"taskArn": "'; DROP TABLE run; --", "lastStatus": "STOPPED"}},
            202,
            id="SQL for a task",
        ),
        pytest.param({"type": ["cron"]}, 400, id="a list for a type"),
        pytest.param({"type": "cron", "dag": 5}, 400, id="a number for a DAG"),
        pytest.param({"type": "cron", "dag": "'; DROP TABLE run; --"}, 202, id="SQL for a DAG"),
        pytest.param({"type": "webhook", "path": "x", "key": "k" * 201, "body": {}}, 400, id="a long key"),
        pytest.param({"type": "webhook", "path": {"$ne": 1}, "key": "k", "body": {}}, 400, id="an object for a path"),
        pytest.param({"type": "webhook", "path": "%00", "key": "k", "body": {}}, 404, id="nobody listens"),
        pytest.param({"type": "webhook", "path": "x", "key": "\0", "body": {}}, 400, id="NUL in a key"),
        pytest.param({"detail-type": {"Scheduled": "Event"}, "detail": []}, 400, id="no types fit"),
        pytest.param([1], 400, id="a list"),
        pytest.param(None, 400, id="no body"),
    ],
)
def test_events(unchanged: Doors, event: Any, code: int) -> None:
    """An event only says where to look, so one that names nothing of ours is taken and forgotten."""
    answer = unchanged.work("/v1/events", event, token=POOL_TOKENS[SOURCES][0])
    assert answer.status_code == code, answer.text[:300]
    unchanged.discreet(answer)
    assert code == 202 or answer.json()["message"]


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt that worker `w` holds."""

    doors: Doors
    id: str
    token: str

    def report(self, **more: Any) -> Any:
        token = more.pop("token", self.token)
        return self.doors.work("/v1/reports", report(attempt=self.id, token=token, **more))

    def row(self) -> tuple[Any, ...]:
        query = "SELECT phase, reason, coalesce(message, ''), error FROM attempt WHERE id = %(id)s"
        return self.doors.world.execute(query, id=self.id)[0]


@pytest.fixture
def claimed(doors: Doors) -> Claimed:
    run = doors.call("POST", "/dags/diamond/trigger", {}).json()
    doors.world.start(run, {"a": "Active"})
    attempt = doors.world.attempt(run["metadata"]["uid"], "a", "Queued")
    body = {**CLAIM, "request": attempt, "attempts": [{"attempt": attempt, "delivery": 1}]}
    (grant,) = doors.work("/v1/claims", body).json()["grants"]
    doors.told.add(grant["token"])
    return Claimed(doors, attempt, grant["token"])


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="none"),
        pytest.param("0" * 64, id="a forged one"),
        pytest.param("t", id="the one that another test wrote"),
        pytest.param(POOL_TOKENS["python"][0], id="the pool's"),
        pytest.param("' OR true --", id="SQL"),
    ],
)
def test_an_attempt_opens_to_its_own_token_only(claimed: Claimed, token: str) -> None:
    before = claimed.doors.state()
    answer = claimed.report(token=token)
    assert answer.json() == {"reports": {claimed.id: "stale"}}
    assert claimed.doors.state() == before


def test_another_pools_worker_gets_no_attempt_of_ours(claimed: Claimed) -> None:
    body = {**CLAIM, "pool": "polars", "worker": "p", "attempts": [{"attempt": claimed.id, "delivery": 1}]}
    answer = claimed.doors.work("/v1/claims", body, token=POOL_TOKENS["polars"][0]).json()
    assert "grants" not in answer
    assert claimed.doors.token_free(answer)


def test_a_workers_id_belongs_to_its_pool(claimed: Claimed) -> None:
    before = claimed.doors.state()
    answer = claimed.doors.work("/v1/heartbeats", {**BEAT, "pool": "polars"}, token=POOL_TOKENS["polars"][0])
    assert answer.status_code == 409
    claimed.doors.refused(answer)
    assert claimed.doors.state() == before


def test_a_replayed_claim_of_another_request_gets_nothing(claimed: Claimed) -> None:
    body = {**CLAIM, "request": "another", "attempts": [{"attempt": claimed.id, "delivery": 1}]}
    answer = claimed.doors.work("/v1/claims", body).json()
    assert answer["refusals"] == [{"attempt": claimed.id, "action": "drop", "reason": "AlreadyClaimed"}]


def test_a_replayed_report_changes_nothing(claimed: Claimed) -> None:
    claimed.report()
    before = claimed.doors.state()
    assert claimed.report(outcome="failed").json() == {"reports": {claimed.id: "recorded"}}
    assert claimed.doors.state() == before


@pytest.mark.parametrize(
    ("said", "message"),
    [
        pytest.param({"outputs": {"a": "x" * 65 * 1024}}, "64 KiB", id="outputs over the limit"),
        pytest.param({"outputs": {"a": "\0"}}, "NUL", id="NUL in an output"),
        pytest.param({"outputs": {"a\0": 1}}, "NUL", id="NUL in an output's name"),
        pytest.param({"outputs": {"a": 2**64}}, "64 bits", id="a large integer"),
        pytest.param({"bookmark": "x" * 65 * 1024}, "64 KiB", id="a bookmark over the limit"),
        pytest.param({"bookmark": json.loads("[" * 100 + "]" * 100)}, "nested", id="a deep bookmark"),
        pytest.param(
            {"writes": [{"dataset": "x", "uid": "none", "mode": "append"}]}, "declare", id="another's dataset"
        ),
    ],
)
def test_a_success_that_cannot_be_kept_is_a_failure(claimed: Claimed, said: dict[str, Any], message: str) -> None:
    assert claimed.report(**said).json() == {"reports": {claimed.id: "recorded"}}
    phase, reason, told, _ = claimed.row()
    assert (phase, reason) == ("Failed", "UserError")
    assert message in told


def test_an_error_is_cut_and_kept(claimed: Claimed) -> None:
    huge = dict.fromkeys(("reason", "kind", "message", "traceback"), f"\x00\x1b[2J'; DROP TABLE run; --{'x' * 10**6}")
    assert claimed.report(outcome="failed", error=huge).json() == {"reports": {claimed.id: "recorded"}}
    phase, reason, message, error = claimed.row()
    assert (phase, reason) == ("Failed", "UserError")
    assert len(message) < 20_000
    assert len(json.dumps(error)) < 50_000


def test_text_that_looks_like_an_escape_is_kept(claimed: Claimed) -> None:
    claimed.report(outputs={"path": "C:\\u0000"})
    assert claimed.row()[0] == "Succeeded"
