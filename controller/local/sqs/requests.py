"""The requests that the local SQS understands, as AWS JSON 1.0 carries them."""
# ruff: noqa: D101 - each struct is named after the AWS operation that documents it

import msgspec

from controller.local.sqs.message import Draft


class Request(msgspec.Struct, kw_only=True, rename="pascal"):
    """The parameters of one operation; unknown ones are ignored, as AWS does."""


class OnQueue(Request):
    """A request that names its queue by URL."""

    queue_url: str


class CreateQueue(Request):
    queue_name: str
    attributes: dict[str, str] = {}
    tags: dict[str, str] = msgspec.field(default_factory=dict, name="tags")


class GetQueueUrl(Request):
    queue_name: str


class ListQueues(Request):
    queue_name_prefix: str = ""
    max_results: int | None = None
    next_token: str = ""


class ListDeadLetterSourceQueues(OnQueue):
    max_results: int | None = None
    next_token: str = ""


class GetQueueAttributes(OnQueue):
    attribute_names: list[str] = []


class SetQueueAttributes(OnQueue):
    attributes: dict[str, str]


class TagQueue(OnQueue):
    tags: dict[str, str]


class UntagQueue(OnQueue):
    tag_keys: list[str]


class SendMessage(Draft, kw_only=True, rename="pascal"):
    queue_url: str


class SendEntry(Draft, kw_only=True, rename="pascal"):
    id: str


class SendMessageBatch(OnQueue):
    entries: list[SendEntry]


class ReceiveMessage(OnQueue):
    attribute_names: list[str] = []
    message_system_attribute_names: list[str] = []
    message_attribute_names: list[str] = []
    max_number_of_messages: int = 1
    visibility_timeout: int | None = None
    wait_time_seconds: int | None = None
    receive_request_attempt_id: str = ""


class DeleteMessage(OnQueue):
    receipt_handle: str


class DeleteEntry(Request):
    id: str
    receipt_handle: str


class DeleteMessageBatch(OnQueue):
    entries: list[DeleteEntry]


class ChangeMessageVisibility(OnQueue):
    receipt_handle: str
    visibility_timeout: int


class VisibilityEntry(Request):
    id: str
    receipt_handle: str
    visibility_timeout: int


class ChangeMessageVisibilityBatch(OnQueue):
    entries: list[VisibilityEntry]


class StartMessageMoveTask(Request):
    source_arn: str
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None


class ListMessageMoveTasks(Request):
    source_arn: str
    max_results: int = 1


class CancelMessageMoveTask(Request):
    task_handle: str
