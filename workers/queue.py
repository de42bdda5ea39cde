"""The pool's SQS queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from workers.grouping import Grouping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_sqs import SQSClient

_log = structlog.get_logger(__name__)

# Limits of SQS.
MAX_RECEIVE = 10
MAX_DELETE = 10
POLL_SECONDS = 20
# Long enough to claim; a message whose worker dies before the claim is soon delivered again.
VISIBILITY_SECONDS = 30

_CONFIG = Config(
    connect_timeout=3,
    read_timeout=POLL_SECONDS + 10,
    retries={"mode": "standard", "total_max_attempts": 2},
    max_pool_connections=4,
)


class QueueError(Exception):
    """SQS did not answer, or refused; try again later."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it was received once."""

    handle: str
    body: str


class Queue:
    """Receive and delete; boto3 finds the endpoint and the credentials in the environment."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: SQSClient = boto3.client("sqs", config=_CONFIG)
        self._deletes: Grouping[str] = Grouping("deletes", self._delete, MAX_DELETE)

    def start(self) -> None:
        """Start the thread that deletes."""
        self._deletes.start()

    def receive(self, limit: int) -> list[Delivery]:
        """Wait for at most `limit` messages; raise QueueError."""
        try:
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(limit, MAX_RECEIVE),
                WaitTimeSeconds=POLL_SECONDS,
                VisibilityTimeout=VISIBILITY_SECONDS,
            )
        except (BotoCoreError, ClientError) as error:
            raise QueueError(str(error)) from error
        return [Delivery(one["ReceiptHandle"], one["Body"]) for one in answer.get("Messages", ())]

    def delete(self, handles: Sequence[str]) -> None:
        """Delete messages soon, in batches. One that stays is delivered again, and its claim is refused."""
        for handle in handles:
            self._deletes.submit(handle)

    def close(self, seconds: float) -> None:
        """Delete what waits, within `seconds`."""
        self._deletes.close(seconds)

    def _delete(self, handles: Sequence[str]) -> None:
        entries: list[Any] = [{"Id": str(at), "ReceiptHandle": handle} for at, handle in enumerate(handles)]
        try:
            answer = self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        except (BotoCoreError, ClientError) as error:
            _log.warning("messages.undeleted", count=len(entries), error=str(error))
            return
        if failed := answer.get("Failed"):
            _log.warning("messages.undeleted", count=len(failed), error=failed[0].get("Code"))
