"""Topics of Amazon SNS, by boto3."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import boto3
from botocore.config import Config

from controller.aws.errors import calling
from controller.errors import SetpointError
from controller.notify.undelivered import Undelivered, said

if TYPE_CHECKING:
    from controller.notify.message import Text

SUBJECT_CHARS = 100
"""The most characters of a subject, ASCII (https://docs.aws.amazon.com/sns/latest/api/API_Publish.html)."""
_CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "max_attempts": 2})


class Topics(Protocol):
    """What publishes to topics."""

    def publish(self, topic: str, text: Text) -> None:
        """Publish a message; raise Undelivered if SNS did not take it."""
        ...


class SnsTopics:
    """Topics of any region; a client is made when the first message goes there."""

    def __init__(self) -> None:
        self._clients: dict[str, Any] = {}
        self._lock = Lock()

    def publish(self, topic: str, text: Text) -> None:
        """Publish a message; raise Undelivered if SNS did not take it."""
        values = {name: {"DataType": "String", "StringValue": value} for name, value in text.attributes.items()}
        subject = text.subject.encode("ascii", "replace").decode()[:SUBJECT_CHARS]
        wanted: dict[str, Any] = {
            "TopicArn": topic,
            "Subject": subject,
            "Message": text.plain,
            "MessageAttributes": values,
        }
        if topic.endswith(".fifo"):
            # What is published again within five minutes is dropped by its id; one object's messages keep their order.
            wanted |= {"MessageDeduplicationId": text.id, "MessageGroupId": text.attributes["name"][:128]}
        try:
            with calling("sns", "Publish"):
                self._client(topic.split(":")[3]).publish(**wanted)
        except SetpointError as error:
            raise Undelivered(f"SNS did not take it: {said(str(error), ())}") from error

    def _client(self, region: str) -> Any:
        # Sessions of boto3 are not to be used by several threads at once; the clients that they make are.
        with self._lock:
            if region not in self._clients:
                self._clients[region] = boto3.client("sns", region_name=region, config=_CONFIG)
            return self._clients[region]
