"""The queue under chaos, as an operator reaches it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from controller.local.provisioner import ACCOUNT, REGION
from crds.names import dead_letter_name
from tests.chaos.workload import QUEUE

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

_COUNTS: tuple[QueueAttributeNameType, ...] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@dataclass(frozen=True, slots=True)
class Queue:
    """Purges the queue and counts what is left in it."""

    endpoint: str
    client: SQSClient

    @classmethod
    def at(cls, endpoint: str) -> Queue:
        """Return the queue of a local SQS."""
        session = boto3.Session("local", "local", region_name=REGION)
        config = Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=2, read_timeout=5)
        return cls(endpoint, session.client("sqs", endpoint_url=endpoint, config=config))

    def purge(self) -> str | None:
        """Remove all messages; None if AWS refuses, as it does within a minute of the last time."""
        before = self._count(QUEUE)
        try:
            self.client.purge_queue(QueueUrl=self._url(QUEUE))
        except self.client.exceptions.PurgeQueueInProgress:
            return None
        return f"{before} messages"

    def left(self) -> int | None:
        """Return how many messages the queue and its dead-letter queue hold; None while SQS is away."""
        with suppress(BotoCoreError, ClientError):
            return self._count(QUEUE) + self._count(dead_letter_name(QUEUE))
        return None

    def _count(self, name: str) -> int:
        answer = self.client.get_queue_attributes(QueueUrl=self._url(name), AttributeNames=list(_COUNTS))
        return sum(int(value) for value in answer["Attributes"].values())

    def _url(self, name: str) -> str:
        return f"{self.endpoint}/{ACCOUNT}/{name}"
