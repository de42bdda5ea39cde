"""The sources against the real API, Postgres and the local Secrets Manager."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.contract.lambda_handlers.lambda_functions import functions
from tests.integration.api_world import POOLS, World, dag, running, task
from tests.integration.worker_world import CREDENTIALS, secrets_server
from workers.aws import cron, ecs_state, webhook
from workers.aws.signature import sign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Database

PREFIX = "test/webhooks/"
SECRETS = {
    "test/events-token": "sources-token",
    f"{PREFIX}shop": {"current": "new-secret", "previous": "old-secret"},
}
ORDERS = dag(
    "orders",
    task("a"),
    params={"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]},
    triggers=[{"webhook": {"path": "shop/orders"}}],
)
BODY = b'{"order": 7}'


@dataclass(frozen=True, slots=True)
class Context:
    """What Lambda tells of an invocation."""

    seconds: float = 20.0

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    file = tmp_path_factory.mktemp("secrets") / "secrets.yaml"
    file.write_text(yaml.safe_dump(SECRETS))
    file.chmod(0o600)
    with secrets_server(file) as url:
        yield file, url


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with running(database) as world:
        world.apply(*POOLS, ORDERS, dag("hourly", task("a"), schedules=[{"name": "tick", "cron": "0 * * * *"}]))
        world.woken.clear()
        yield world


@pytest.fixture
def environment(secrets: tuple[Path, str], world: World) -> dict[str, str]:
    return {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": secrets[1],
        "SETPOINT_URL": world.url,
        "SETPOINT_EVENTS_TOKEN_SECRET": "test/events-token",
    }


@pytest.fixture
def sources(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Set the environment of the functions; each test begins with a cold start."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for cold in (cron._events, ecs_state._events, webhook._webhook):
        cold.cache_clear()
    yield monkeypatch
    for cold in (cron._events, ecs_state._events, webhook._webhook):
        cold.cache_clear()


@pytest.fixture
def hooks(sources: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    sources.setenv("SETPOINT_WEBHOOK_SECRET_PREFIX", PREFIX)
    return sources


def request(
    body: bytes = BODY, path: str = "shop/orders", *, secret: str = "new-secret", age: float = 0, encode: bool = False
) -> dict[str, Any]:
    """Return what API Gateway passes on of a signed request."""
    signed = int(time.time() - age)
    header = f"t={signed},v1={sign(secret.encode(), signed, body)}"
    return {
        "version": "2.0",
        "rawPath": f"/hooks/{path}",
        "headers": {"x-setpoint-signature": header, "content-type": "application/json"},
        "body": base64.b64encode(body).decode() if encode else body.decode(),
        "isBase64Encoded": encode,
    }


def post(event: dict[str, Any], seconds: float = 20.0) -> tuple[int, Any]:
    answer = webhook.handler(event, Context(seconds))
    return answer["statusCode"], json.loads(answer["body"])


def runs(world: World) -> list[tuple[Any, ...]]:
    return world.execute("SELECT dag, trigger, params FROM run ORDER BY dag")


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize(
    "event",
    [
        pytest.param(request, id="current secret"),
        pytest.param(lambda: request(secret="old-secret"), id="previous secret"),
        pytest.param(lambda: request(encode=True), id="base64"),
        pytest.param(lambda: request(age=290), id="nearly too old"),
        pytest.param(lambda: request(age=-290), id="a clock that is ahead"),
    ],
)
def test_a_signed_request_has_its_run_when_it_is_answered(world: World, event: Any) -> None:
    status, body = post(event())
    assert status == 200, body
    assert [run["created"] for run in body["runs"]] == [True]
    assert runs(world) == [("orders", "webhook", {"order": 7})]


@pytest.mark.usefixtures("hooks")
def test_the_same_request_again_answers_the_same_run(world: World) -> None:
    event = request()
    first, second = post(event)[1]["runs"][0], post(event)[1]["runs"][0]
    assert (second["name"], second["created"]) == (first["name"], False)
    assert len(runs(world)) == 1


def without(event: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**event, **more}


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize(
    ("event", "status"),
    [
        pytest.param(lambda: request(secret="guessed"), 401, id="another secret"),
        pytest.param(lambda: request(age=310), 401, id="too old"),
        pytest.param(lambda: request(age=-310), 401, id="from the future"),
        pytest.param(lambda: without(request(), headers={}), 401, id="not signed"),
        pytest.param(lambda: without(request(), headers={"X-Setpoint-Signature": "t=x,v1=y"}), 401, id="no time"),
        pytest.param(lambda: without(request(), body='{"order": 8}'), 401, id="another body"),
        pytest.param(lambda: request(path="unknown/orders"), 404, id="unknown prefix"),
        pytest.param(lambda: request(path="shop/nothing"), 404, id="no DAG listens"),
        pytest.param(lambda: without(request(), rawPath="/hooks/../admin"), 404, id="no path of ours"),
        pytest.param(lambda: without(request(), rawPath="/elsewhere"), 404, id="another route"),
        pytest.param(lambda: request(b"no json"), 400, id="no JSON"),
        pytest.param(lambda: request(b""), 400, id="no body"),
        pytest.param(lambda: request(b'{"order": NaN}'), 400, id="a constant that is no JSON"),
        pytest.param(lambda: request(b"[" * 100_000), 400, id="too deep"),
        pytest.param(lambda: without(request(encode=True), body="%%%"), 400, id="no base64"),
        pytest.param(lambda: request(b'{"order": "seven"}'), 422, id="params that do not fit"),
        pytest.param(lambda: request(b'{"order": 1, "x": "%s"}' % (b"x" * 2**18)), 413, id="too large"),
    ],
)
def test_what_is_refused(world: World, event: Any, status: int) -> None:
    answered, body = post(event())
    assert answered == status, body
    assert set(body) == {"message"}
    assert "secret-" not in body["message"]
    assert not runs(world)


def test_a_rotated_secret_and_a_new_token_are_read_again(
    hooks: pytest.MonkeyPatch, secrets: tuple[Path, str], world: World
) -> None:
    file, _ = secrets
    # Nothing that was read is kept long enough to matter here.
    hooks.setattr("workers.aws.signers.REFUSED_SECONDS", 0.0)
    hooks.setattr("workers.pooltoken.REFUSED_SECONDS", 0.0)
    try:
        file.write_text(yaml.safe_dump({**SECRETS, "test/events-token": "not-yet-known"}))
        status, body = post(request(), seconds=4.0)
        assert (status, body["message"]) == (503, "not taken; send the same request again")

        rotated = {"current": "newest-secret", "previous": "new-secret"}
        file.write_text(yaml.safe_dump({**SECRETS, f"{PREFIX}shop": rotated}))
        assert post(request(secret="newest-secret"))[0] == 200
    finally:
        file.write_text(yaml.safe_dump(SECRETS))
    assert len(runs(world)) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("SETPOINT_URL", "http://127.0.0.1:9", id="the dispatcher"),
        pytest.param("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9", id="Secrets Manager"),
    ],
)
def test_while_something_is_away_the_sender_is_told_to_come_again(
    hooks: pytest.MonkeyPatch, name: str, value: str
) -> None:
    hooks.setenv(name, value)
    answer = webhook.handler(request(), Context(4.0))
    assert answer["statusCode"] == 503
    assert int(answer["headers"]["retry-after"]) > 0


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize(
    ("event", "woken"),
    [
        pytest.param({"type": "cron", "namespace": "default", "dag": "hourly", "schedule": "tick"}, 1, id="a rule"),
        pytest.param({"type": "cron", "namespace": "default", "dag": "gone", "schedule": "tick"}, 0, id="a gone DAG"),
        pytest.param({"type": "cron"}, 1, id="the platform's tick"),
        pytest.param({"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}, 1, id="no input"),
    ],
)
def test_a_tick_wakes_what_it_names(world: World, event: dict[str, Any], woken: int) -> None:
    cron.handler(event, Context())
    assert len(world.woken) == woken
    assert not runs(world)


@pytest.mark.usefixtures("sources")
def test_a_stopped_task_wakes_its_pool(world: World) -> None:
    arn = "arn:aws:ecs:eu-west-1:000000000000:task/test/1"
    world.execute(
        """INSERT INTO worker (id, pool_uid, ecs_task, slots, started_at, renewed_at, heartbeat_by)
           SELECT 'w1', uid, %(arn)s, 1, now(), now(), now() FROM resource
            WHERE kind = 'WorkerPool' AND name = 'python'""",
        arn=arn,
    )
    for status in ("RUNNING", "STOPPED"):
        assert not world.woken
        detail = {"taskArn": arn, "lastStatus": status, "stoppedReason": "OutOfMemoryError"}
        ecs_state.handler({"detail-type": "ECS Task State Change", "detail": detail}, Context())
    assert [key.kind for key in world.woken] == ["pool"]


@pytest.mark.usefixtures("sources")
def test_what_no_rule_of_ours_sends_is_refused() -> None:
    with pytest.raises(ValueError, match="no tick"):
        cron.handler({"hello": "world"}, Context())
    with pytest.raises(ValueError, match="no event of ECS"):
        ecs_state.handler({"hello": "world"}, Context())


def test_the_handlers_run_under_lambda(environment: dict[str, str], world: World, tmp_path: Path) -> None:
    pytest.importorskip("awslambdaric")
    hook = {**environment, "SETPOINT_WEBHOOK_SECRET_PREFIX": PREFIX}
    with functions(
        tmp_path,
        {"name": "cron", "handler": "workers.aws.cron.handler", "env": environment},
        {"name": "ecs-state", "handler": "workers.aws.ecs_state.handler", "env": environment},
        {"name": "webhook", "handler": "workers.aws.webhook.handler", "env": hook},
    ) as made:
        assert made.invoke("cron", {"type": "cron"}) is None
        assert made.invoke("ecs-state", {"detail": {"lastStatus": "STOPPED", "taskArn": "arn"}}) is None
        assert made.invoke("webhook", request())["statusCode"] == 200
        assert "secret" not in made.log()
    assert len(runs(world)) == 1
