"""How fast the parts are by themselves on this machine: the limits beside which the whole is to be read."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, LiteralString

import boto3
import psycopg

from tests.benchmarks.child_rate import round_trips
from tests.benchmarks.keepalive import KeepAlive
from tests.benchmarks.measuring import WARM_UP, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_sqs import SQSClient

    from tests.benchmarks.dags import Dag
    from tests.benchmarks.results import Figures
    from tests.benchmarks.stack import Size, Stack

SECONDS = 1.5
BATCH = 10
CONNECTIONS = 8
_BODY = '{"attempt":"0123456789abcdef/task/0/1","delivery":1}'

_TABLE: LiteralString = "CREATE TABLE IF NOT EXISTS public.bench (id int PRIMARY KEY, n int NOT NULL)"
_FILL: LiteralString = "INSERT INTO public.bench SELECT n, 0 FROM generate_series(0, 99) n ON CONFLICT DO NOTHING"
_UPDATE: LiteralString = "UPDATE public.bench SET n = n + 1 WHERE id = %s"
_SETTING: LiteralString = "SELECT name || '=' || setting FROM pg_settings WHERE name = ANY(%s) ORDER BY name"
_DURABILITY = ["fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "commit_delay"]


class Rates(Workload):
    """Requests, commits and round trips a second, each by itself on an idle system."""

    name, title = "rates", "the parts by themselves"

    def dags(self, size: Size) -> Sequence[Dag]:
        del size
        return [WARM_UP]

    def facts(self, stack: Stack) -> dict[str, Any]:
        with _as_dispatcher(stack) as connection:
            return {"postgres": [row[0] for row in connection.execute(_SETTING, [_DURABILITY])]}

    def measure(self, stack: Stack) -> Figures:
        seconds = SECONDS * stack.size.scale
        return {
            **_sqs(stack, seconds),
            **_postgres(stack, seconds),
            **_api(stack, seconds),
            "child_round_trips_per_s": round_trips(stack.folder, seconds),
        }


def per_second(act: Callable[[int], object], seconds: float, each: int = 1) -> float:
    """Return how often an act is done in a second, times what each does."""
    began = time.perf_counter()
    done = 0
    while (passed := time.perf_counter() - began) < seconds or not done:
        act(done)
        done += 1
    return done * each / passed


def _sqs(stack: Stack, seconds: float) -> dict[str, float]:
    environment = stack.environment("controller.main")
    session = boto3.Session("local", "local", region_name=environment["AWS_REGION"])
    client = session.client("sqs", endpoint_url=environment["AWS_ENDPOINT_URL_SQS"])
    attributes = {"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    name = f"bench{time.monotonic_ns()}.fifo"
    url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]
    raw = KeepAlive(environment["AWS_ENDPOINT_URL_SQS"])

    def ask(operation: str, body: dict[str, Any]) -> None:
        raw.post("/", {"QueueUrl": url, **body}, {"X-Amz-Target": f"AmazonSQS.{operation}"})

    found = {
        "sqs_http_sends_per_s": per_second(lambda n: ask("SendMessage", _message(f"a{n}")), seconds),
        "sqs_http_batched_sends_per_s": per_second(
            lambda n: ask("SendMessageBatch", {"Entries": _entries(f"b{n}")}), seconds, BATCH
        ),
        "sqs_boto3_sends_per_s": per_second(lambda n: _send(client, url, f"c{n}"), seconds),
        "sqs_boto3_batched_sends_per_s": per_second(
            lambda n: client.send_message_batch(QueueUrl=url, Entries=_entries(f"d{n}")),  # type: ignore[arg-type]
            seconds,
            BATCH,
        ),
        "sqs_boto3_received_and_deleted_per_s": per_second(lambda _: _drain(client, url), seconds, BATCH),
    }
    client.delete_queue(QueueUrl=url)
    return found


def _send(client: SQSClient, url: str, key: str) -> None:
    client.send_message(QueueUrl=url, MessageBody=_BODY, MessageGroupId=key, MessageDeduplicationId=key)


def _drain(client: SQSClient, url: str) -> None:
    messages = client.receive_message(QueueUrl=url, MaxNumberOfMessages=BATCH).get("Messages", [])
    if not messages:  # so many were received that the queue is empty: fill it, which makes the figure smaller
        client.send_message_batch(QueueUrl=url, Entries=_entries(f"e{time.monotonic_ns()}"))  # type: ignore[arg-type]
        return
    gone = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
    client.delete_message_batch(QueueUrl=url, Entries=gone)  # type: ignore[arg-type]


def _message(key: str) -> dict[str, str]:
    return {"MessageBody": _BODY, "MessageGroupId": key, "MessageDeduplicationId": key}


def _entries(key: str) -> list[dict[str, str]]:
    return [{"Id": str(n), **_message(f"{key}-{n}")} for n in range(BATCH)]


def _postgres(stack: Stack, seconds: float) -> dict[str, float]:
    with stack.connect() as administrator:
        administrator.execute(_TABLE)
        administrator.execute(_FILL)
        administrator.execute("GRANT SELECT, UPDATE ON public.bench TO PUBLIC")

    def commit(row: int) -> float:
        with _as_dispatcher(stack) as connection:
            return per_second(lambda _: connection.execute(_UPDATE, [row]), seconds)

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return {
            "postgres_commits_per_s": commit(0),
            f"postgres_commits_{CONNECTIONS}_connections_per_s": sum(threads.map(commit, range(CONNECTIONS))),
        }


def _as_dispatcher(stack: Stack) -> psycopg.Connection:
    """Connect as the dispatcher does, so that its login's own settings hold."""
    return psycopg.connect(stack.environment("controller.main")["SETPOINT_DSN"], autocommit=True)


def _api(stack: Stack, seconds: float) -> dict[str, float]:
    api = KeepAlive(stack.url)
    return {"api_no_op_requests_per_s": per_second(lambda _: api.get("/healthz"), seconds)}
