"""A queue as the SQS contract sees it: through the AWS SDK, on whatever endpoint."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from botocore.exceptions import ClientError
from mypy_boto3_sqs import SQSClient
from mypy_boto3_sqs.type_defs import MessageTypeDef

# AWS may take its time; what is there comes sooner, what is not there costs this long.
PATIENCE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class ContractQueue:
    """A queue of one test, with the calls that tests repeat."""

    client: SQSClient
    url: str

    @property
    def arn(self) -> str:
        return self.attribute("QueueArn")

    def attribute(self, name: str) -> str:
        return self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])["Attributes"][name]

    def counts(self) -> tuple[int, int, int]:
        """Return how many messages are visible, in flight and delayed."""
        attributes = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        name = "ApproximateNumberOfMessages"
        return int(attributes[name]), int(attributes[f"{name}NotVisible"]), int(attributes[f"{name}Delayed"])

    def send(self, body: str, group: str = "g", dedup: str | None = None) -> str:
        """Send to a FIFO queue, with the body as deduplication id unless told otherwise."""
        return self.client.send_message(
            QueueUrl=self.url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=dedup or body
        )["MessageId"]

    def post(self, body: str, **parameters: object) -> str:
        """Send to a standard queue."""
        return self.client.send_message(QueueUrl=self.url, MessageBody=body, **parameters)["MessageId"]

    def receive(self, limit: int = 10, visibility: int = 30, wait: int = PATIENCE_SECONDS) -> list[MessageTypeDef]:
        """Wait for messages that must come."""
        return self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=limit,
            VisibilityTimeout=visibility,
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])

    def bodies(self, limit: int = 10, visibility: int = 30, wait: int = PATIENCE_SECONDS) -> list[str]:
        return [message["Body"] for message in self.receive(limit, visibility, wait)]

    def nothing(self) -> bool:
        """Say whether a receive that does not wait finds nothing."""
        return not self.receive(wait=0)

    def delete(self, message: MessageTypeDef) -> None:
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def show(self, message: MessageTypeDef, seconds: int = 0) -> None:
        """Change when a message in flight becomes visible."""
        self.client.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds
        )


MakeQueue = Callable[..., ContractQueue]


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    """Return the code of a refused call."""
    return error.value.response["Error"]["Code"]
