"""What a process says of itself: its queues, its connections, its requests, its calls to AWS; and actions after COMMIT."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from prometheus_client import REGISTRY, CollectorRegistry

from controller.api.request_metrics import RequestMetrics
from controller.aws.errors import calling
from controller.aws.prices import dollars
from controller.errors import SetpointError
from controller.runtime.keys import Key, Kind
from controller.runtime.metrics import Process
from controller.runtime.workqueue import Workqueue

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool
    from starlette.types import Message, Receive, Scope, Send


def value(sample: str, /, **labels: str) -> float:
    return REGISTRY.get_sample_value(sample, labels) or 0.0


class Pool:
    """What psycopg's pool says of itself while two wait for one of five connections."""

    def get_stats(self) -> dict[str, int]:
        return {"pool_size": 5, "pool_available": 0, "requests_waiting": 2}


def test_queues_and_connections_are_read_when_they_are_asked_for() -> None:
    now = [0.0]
    queue, registry = Workqueue("runs", lambda: now[0]), CollectorRegistry()
    registry.register(Process(lambda: {"runs": queue}, lambda: {"loop": cast("ConnectionPool", Pool())}))
    keys = [Key(Kind.RUN, name) for name in "abc"]
    queue.add(keys)
    queue.get(2, 0)
    now[0] = 4.0
    said = {s.name: s.value for family in registry.collect() for s in family.samples}
    assert said["workqueue_depth"] == 1
    assert said["workqueue_adds_total"] == 3
    assert said["workqueue_unfinished_work_seconds"] == 8
    assert said["workqueue_longest_running_processor_seconds"] == 4
    assert said["setpoint_database_pool_size"] == 5
    assert said["setpoint_database_pool_available"] == 0
    assert said["setpoint_database_pool_waiting"] == 2


def test_a_queue_tells_how_long_keys_wait_and_are_worked_on() -> None:
    now = [0.0]
    queue = Workqueue("timed", lambda: now[0])
    queue.add([Key(Kind.RUN, "a")])
    now[0] = 2.0
    (key,) = queue.get(1, 0)
    now[0] = 5.0
    queue.done(key)
    assert value("workqueue_queue_duration_seconds_sum", name="timed") == 2
    assert value("workqueue_work_duration_seconds_sum", name="timed") == 3


@pytest.mark.parametrize(
    ("service", "operation", "size", "expected"),
    [
        pytest.param("sqs", "SendMessageBatch", 3_000, 0.5e-6, id="one batch is one request"),
        pytest.param("sqs", "SendMessageBatch", 65_537, 1e-6, id="each 64 KiB"),
        pytest.param("secretsmanager", "GetSecretValue", 0, 5e-6, id="secret"),
        pytest.param("ecs", "DescribeServices", 0, 0, id="free"),
    ],
)
def test_prices(service: str, operation: str, size: int, expected: float) -> None:
    assert dollars(service, operation, size) == pytest.approx(expected)


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "SendMessageBatch")


@pytest.mark.parametrize(
    ("error", "code", "throttled", "cost"),
    [
        pytest.param(None, "200", 0, 0.5e-6, id="answered"),
        pytest.param(refusal("AccessDenied"), "AccessDenied", 0, 0.5e-6, id="refused"),
        pytest.param(refusal("ThrottlingException"), "ThrottlingException", 1, 0, id="throttled"),
        pytest.param(EndpointConnectionError(endpoint_url="x"), "EndpointConnectionError", 0, 0, id="unreached"),
    ],
)
def test_a_call_to_aws_is_counted_and_priced(error: Exception | None, code: str, throttled: int, cost: float) -> None:
    labels = {"service": "sqs", "operation": "SendMessageBatch", "code": code}

    def seen() -> tuple[float, ...]:
        return (
            value("aws_sdk_request_total", **labels),
            value("setpoint_aws_throttled_total", service="sqs"),
            value("setpoint_aws_cost_dollars_total", service="sqs"),
        )

    before = seen()
    with suppress(SetpointError), calling("sqs", "SendMessageBatch"):
        if error is not None:
            raise error
    assert [b - a for a, b in zip(before, seen(), strict=True)] == pytest.approx([1, throttled, cost])


@pytest.mark.parametrize(
    ("method", "path", "status", "label", "reason"),
    [
        pytest.param("GET", "/apis", 200, "GET", None, id="read"),
        pytest.param("POST", "/apis", 401, "POST", "auth", id="no token"),
        pytest.param("POST", "/apis", 413, "POST", "size", id="too large"),
        pytest.param("PATCH", "/apis", 429, "PATCH", "rate", id="too many"),
        pytest.param("BREW", "/apis", 405, "other", None, id="made up"),
        pytest.param("GET", "/healthz", 200, None, None, id="probe"),
    ],
)
def test_requests_are_counted_by_answer(
    method: str, path: str, status: int, label: str | None, reason: str | None
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})

    async def receive() -> Message:
        return {}

    async def send(_: Message) -> None:
        return

    scope: dict[str, Any] = {"type": "http", "method": method, "path": path}
    name, refused = "setpoint_http_requests_total", "setpoint_http_rejected_total"
    labels = {"method": label or method, "code": str(status)}
    before = value(name, **labels), value(refused, reason=reason or "")
    asyncio.run(RequestMetrics(app)(scope, receive, send))
    assert value(name, **labels) - before[0] == (label is not None)
    assert value(refused, reason=reason or "") - before[1] == (reason is not None)
