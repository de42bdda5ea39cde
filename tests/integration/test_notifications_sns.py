"""Messages to topics of SNS, as moto plays them, and on to a queue that subscribes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.integration.notify_world import desk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database
    from tests.integration.notify_world import Desk

pytest.importorskip("moto", reason="no moto: make test installs it from requirements-moto.lock")
REGION = "eu-west-1"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - it may be missing, which skips the module

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)
    try:
        yield
    finally:
        server.stop()


@pytest.fixture
def office(database: Database) -> Iterator[Desk]:
    with desk(database) as made:
        yield made


def subscribed(name: str, topic: dict[str, str] | None = None, queue: dict[str, str] | None = None) -> tuple[str, str]:
    """Return a new topic and the URL of a queue that gets what is published there."""
    sns, sqs = boto3.client("sns", region_name=REGION), boto3.client("sqs", region_name=REGION)
    topic_arn = sns.create_topic(Name=name, Attributes=topic or {})["TopicArn"]
    url = sqs.create_queue(QueueName=name, Attributes=queue or {})["QueueUrl"]  # type: ignore[arg-type]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn)
    return topic_arn, url


def received(queue: str) -> list[dict[str, Any]]:
    found = boto3.client("sqs", region_name=REGION).receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    return [json.loads(m["Body"]) for m in found.get("Messages", [])]


@pytest.mark.usefixtures("aws")
def test_a_message_reaches_who_subscribes(office: Desk) -> None:
    topic, queue = subscribed("alerts")
    office.due(office.notifier("topic", sns={"topicArn": topic}))
    office.round(office.deliverer())

    (got,) = received(queue)
    assert got["Subject"] == "flights failed: load"
    assert "Look: setpoint explain run/flights-0192" in got["Message"]
    values = {name: value["Value"] for name, value in got["MessageAttributes"].items()}
    assert values == {
        "id": "nt-topic-1",
        "occasion": "RunFailed",
        "kind": "DagRun",
        "namespace": "default",
        "name": "flights-0192",
        "dag": "flights",
    }


@pytest.mark.usefixtures("aws")
def test_a_fifo_topic_drops_what_is_repeated(office: Desk) -> None:
    topic, queue = subscribed("alerts.fifo", {"FifoTopic": "true"}, {"FifoQueue": "true"})
    office.due(office.notifier("topic", sns={"topicArn": topic}))
    for _ in range(2):
        office.round(office.deliverer())
        office.execute("UPDATE notification SET sent_at = NULL, next_at = now()")
    assert [m["MessageAttributes"]["id"]["Value"] for m in received(queue)] == ["nt-topic-1"]


@pytest.mark.usefixtures("aws")
def test_a_topic_that_does_not_exist(office: Desk) -> None:
    office.due(office.notifier("topic", sns={"topicArn": f"arn:aws:sns:{REGION}:123456789012:nothing"}))
    office.round(office.deliverer())
    assert office.state("nt-topic")[1] == "DeliveryFailed"
    assert office.state("nt-topic")[2].startswith("SNS did not take it: NotFound")
