"""Dead-letter queues: what a stranger has sent there is removed, and nothing of it is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from controller.aws.sqs import SqsQueues
from crds.names import AttemptId
from crds.protocol import Message
from tests.integration.worker_world import sqs_server

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE = "setpoint-x.fifo"
OURS = '{"attempt": "run/task/0/1", "delivery": 2}'


@pytest.fixture(scope="module")
def sqs() -> Iterator[Any]:
    with sqs_server() as url:
        client = boto3.client(
            "sqs", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="local", aws_secret_access_key="local"
        )
        client.create_queue(QueueName="setpoint-x-dlq.fifo", Attributes={"FifoQueue": "true"})
        yield client


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("x", id="no JSON"),
        pytest.param("[" * 100_000, id="100,000 brackets"),
        pytest.param('{"attempt": "a/b/0/1", "delivery": 1, "x": ' + "[" * 9_000 + "]" * 9_000 + "}", id="deep"),
        pytest.param('{"attempt": "a\\u0000/b/0/1", "delivery": 1}', id="NUL"),
        pytest.param('{"attempt": "none", "delivery": 1}', id="no attempt"),
        pytest.param('{"attempt": "a/b/0/1", "delivery": -1}', id="a negative delivery"),
        pytest.param('{"attempt": "a/b/0/1", "delivery": 99999999999}', id="a large delivery"),
    ],
)
def test_letters_of_strangers(sqs: Any, body: str) -> None:
    url = sqs.get_queue_url(QueueName="setpoint-x-dlq.fifo")["QueueUrl"]
    for number, text in enumerate((body, OURS)):
        group = f"{hash(body)}-{number}"
        sqs.send_message(QueueUrl=url, MessageBody=text, MessageGroupId=group, MessageDeduplicationId=group)
    queues = SqsQueues(sqs)
    letters = queues.dead_letters(QUEUE)
    assert {letter.message for letter in letters} == {None, Message(AttemptId("run/task/0/1"), 2)}
    queues.discard(QUEUE, letters)
    assert queues.dead_letters(QUEUE) == []
