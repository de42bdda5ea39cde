"""SQS: send in batches, look at attributes, empty dead-letter queues."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import msgspec

from controller.aws.errors import calling
from crds.names import AttemptId, dead_letter_name, deduplication_id, parse_attempt_id
from crds.protocol import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

BATCH = 10
"""The most messages that one SQS call takes."""


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """SQS's approximate counts of a queue and of its dead-letter queue."""

    visible: int
    in_flight: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message of a dead-letter queue; `message` is None if a stranger wrote it."""

    handle: str
    message: Message | None


class Queues(Protocol):
    """What the controller needs of SQS."""

    def send(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        """Send at most BATCH messages; return those that SQS took."""
        ...

    def counts(self, queue: str) -> QueueCounts:
        """Return the approximate counts of a queue."""
        ...

    def dead_letters(self, queue: str) -> list[DeadLetter]:
        """Receive up to BATCH messages of a queue's dead-letter queue."""
        ...

    def discard(self, queue: str, letters: Sequence[DeadLetter]) -> None:
        """Delete messages of a queue's dead-letter queue."""
        ...


# Deliveries are 32-bit integers in the store.
MAX_DELIVERY = 2**31 - 1


class SqsQueues:
    """Queues by boto3."""

    def __init__(self, client: SQSClient) -> None:
        self._client = client
        self._urls: dict[str, str] = {}
        self._lock = Lock()

    def send(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        """Send at most BATCH messages; the group is the attempt, so that a message in flight blocks no other."""
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {
                "Id": str(n),
                "MessageBody": msgspec.json.encode(message).decode(),
                "MessageGroupId": message.attempt,
                "MessageDeduplicationId": deduplication_id(AttemptId(message.attempt), message.delivery),
            }
            for n, message in enumerate(messages)
        ]
        url = self._url(queue)
        with calling("sqs", "SendMessageBatch", sum(len(entry["MessageBody"]) for entry in entries)):
            answer = self._client.send_message_batch(QueueUrl=url, Entries=entries)
        return [messages[int(sent["Id"])] for sent in answer.get("Successful", [])]

    def counts(self, queue: str) -> QueueCounts:
        """Return the approximate counts of a queue and of its dead-letter queue."""
        visible, in_flight = self._counts(queue)
        dead, dying = self._counts(dead_letter_name(queue))
        return QueueCounts(visible, in_flight, dead + dying)

    def dead_letters(self, queue: str) -> list[DeadLetter]:
        """Receive up to BATCH messages of the dead-letter queue, without waiting."""
        url = self._url(dead_letter_name(queue))
        with calling("sqs", "ReceiveMessage"):
            answer = self._client.receive_message(QueueUrl=url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=0)
        return [DeadLetter(m["ReceiptHandle"], _decode(m["Body"])) for m in answer.get("Messages", [])]

    def discard(self, queue: str, letters: Sequence[DeadLetter]) -> None:
        """Delete messages of the dead-letter queue."""
        url = self._url(dead_letter_name(queue))
        with calling("sqs", "DeleteMessageBatch"):
            self._client.delete_message_batch(
                QueueUrl=url,
                Entries=[{"Id": str(n), "ReceiptHandle": letter.handle} for n, letter in enumerate(letters)],
            )

    def _counts(self, queue: str) -> tuple[int, int]:
        url = self._url(queue)
        with calling("sqs", "GetQueueAttributes"):
            answer = self._client.get_queue_attributes(
                QueueUrl=url,
                AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
            )
        attributes = answer["Attributes"]
        return (
            int(attributes["ApproximateNumberOfMessages"]),
            int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        )

    def _url(self, queue: str) -> str:
        with self._lock:
            known = self._urls.get(queue)
        if known is not None:
            return known
        with calling("sqs", "GetQueueUrl"):
            url = self._client.get_queue_url(QueueName=queue)["QueueUrl"]
        with self._lock:
            self._urls[queue] = url
        return url


def _decode(body: str) -> Message | None:
    """Return a message of ours, None for what anyone else may have sent."""
    try:
        message = msgspec.json.decode(body, type=Message)
        parse_attempt_id(message.attempt)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return message if 0 < message.delivery <= MAX_DELIVERY else None
