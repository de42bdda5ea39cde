"""Operations of the local SQS on messages: send, receive, delete, change visibility, and their batches."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from controller.local.sqs import requests
from controller.local.sqs.account import ACCOUNT_ID, Account
from controller.local.sqs.errors import SqsError, invalid_value
from controller.local.sqs.message import Attributes, Draft, attributes_md5, text_md5
from controller.local.sqs.polls import Poll
from controller.local.sqs.queue import Delivery, Queue, Sent
from controller.local.sqs.settings import (
    MAX_DELAY_SECONDS,
    MAX_MESSAGE_BYTES,
    MAX_VISIBILITY_SECONDS,
    MAX_WAIT_SECONDS,
)

MAX_ENTRIES = 10
MAX_RECEIVED = 10
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ALL_ATTRIBUTES = frozenset({"All", ".*"})

Reply = dict[str, Any]


class _Entry(Protocol):
    id: str


E = TypeVar("E", bound=_Entry)


def send_message(account: Account, request: requests.SendMessage, now: float) -> Reply:
    """Send one message."""
    return _send(account.by_url(request.queue_url), request, now)


def send_message_batch(account: Account, request: requests.SendMessageBatch, now: float) -> Reply:
    """Send up to ten messages; a bad one fails alone, unless all together are too long."""
    queue = account.by_url(request.queue_url)
    _check_entries(request.entries)
    size = sum(entry.size for entry in request.entries)
    if size > MAX_MESSAGE_BYTES:
        text = f"Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {size} bytes."
        raise SqsError("BatchRequestTooLong", text)
    return _each(request.entries, lambda entry: _send(queue, entry, now))


def receive_message(account: Account, request: requests.ReceiveMessage, now: float) -> Poll:
    """Describe a receive; it is served at once if there is something, and else may wait."""
    queue = account.by_url(request.queue_url)
    limit, visibility, wait = (
        request.max_number_of_messages,
        request.visibility_timeout,
        request.wait_time_seconds,
    )
    if not 1 <= limit <= MAX_RECEIVED:
        reason = f"Must be between 1 and {MAX_RECEIVED}, if provided."
        raise invalid_value(limit, "MaxNumberOfMessages", reason)
    if visibility is not None:
        _check_range("VisibilityTimeout", visibility, MAX_VISIBILITY_SECONDS)
    if wait is not None:
        _check_range("WaitTimeSeconds", wait, MAX_WAIT_SECONDS)
    seconds = queue.settings.wait if wait is None else wait
    system = frozenset(request.attribute_names) | frozenset(request.message_system_attribute_names)
    render = partial(_received, queue.settings.fifo, system, tuple(request.message_attribute_names))
    attempt = request.receive_request_attempt_id if queue.settings.fifo else ""
    return Poll(queue, limit, visibility, attempt, now + seconds, render)


def delete_message(account: Account, request: requests.DeleteMessage, now: float) -> Reply:
    """Delete one message."""
    account.by_url(request.queue_url).delete(request.receipt_handle, now)
    return {}


def delete_message_batch(account: Account, request: requests.DeleteMessageBatch, now: float) -> Reply:
    """Delete up to ten messages."""
    queue = account.by_url(request.queue_url)
    _check_entries(request.entries)

    def delete(entry: requests.DeleteEntry) -> Reply:
        queue.delete(entry.receipt_handle, now)
        return {}

    return _each(request.entries, delete)


def change_message_visibility(account: Account, request: requests.ChangeMessageVisibility, now: float) -> Reply:
    """Change when one message in flight becomes visible."""
    queue = account.by_url(request.queue_url)
    return _change_visibility(queue, request.receipt_handle, request.visibility_timeout, now)


def change_message_visibility_batch(
    account: Account, request: requests.ChangeMessageVisibilityBatch, now: float
) -> Reply:
    """Change when up to ten messages in flight become visible."""
    queue = account.by_url(request.queue_url)
    _check_entries(request.entries)
    return _each(
        request.entries,
        lambda entry: _change_visibility(queue, entry.receipt_handle, entry.visibility_timeout, now),
    )


def _send(queue: Queue, draft: Draft, now: float) -> Reply:
    if draft.delay_seconds is not None:
        _check_range("DelaySeconds", draft.delay_seconds, MAX_DELAY_SECONDS)
    return _sent(queue, draft, queue.send(draft, now))


def _sent(queue: Queue, draft: Draft, sent: Sent) -> Reply:
    reply: Reply = {"MessageId": sent.message_id, "MD5OfMessageBody": text_md5(draft.message_body)}
    if draft.message_attributes:
        reply["MD5OfMessageAttributes"] = attributes_md5(draft.message_attributes)
    if draft.message_system_attributes:
        reply["MD5OfMessageSystemAttributes"] = attributes_md5(draft.message_system_attributes)
    if queue.settings.fifo:
        reply["SequenceNumber"] = str(sent.sequence)
    return reply


def _change_visibility(queue: Queue, handle: str, seconds: int, now: float) -> Reply:
    _check_range("VisibilityTimeout", seconds, MAX_VISIBILITY_SECONDS)
    queue.change_visibility(handle, seconds, now)
    return {}


def _check_range(name: str, value: int, highest: int) -> None:
    if not 0 <= value <= highest:
        raise invalid_value(value, name, f"Must be between 0 and {highest}, if provided.")


def _check_entries(entries: Sequence[_Entry]) -> None:
    """Raise what makes a batch fail as a whole."""
    if not entries:
        raise SqsError("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(entries) > MAX_ENTRIES:
        text = f"Maximum number of entries per request are {MAX_ENTRIES}. You have sent {len(entries)}."
        raise SqsError("TooManyEntriesInBatchRequest", text)
    seen: set[str] = set()
    for entry in entries:
        if not _ENTRY_ID.fullmatch(entry.id):
            text = (
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long."
            )
            raise SqsError("InvalidBatchEntryId", text)
        if entry.id in seen:
            raise SqsError("BatchEntryIdsNotDistinct", f"Id {entry.id} repeated.")
        seen.add(entry.id)


def _each(entries: Sequence[E], act: Callable[[E], Reply]) -> Reply:
    """Act on each entry; the refused ones are reported beside the others."""
    reply: Reply = {"Successful": []}
    for entry in entries:
        try:
            reply["Successful"].append({"Id": entry.id} | act(entry))
        except SqsError as error:
            failed = {"Id": entry.id, "SenderFault": True, "Code": error.code, "Message": error.message}
            reply.setdefault("Failed", []).append(failed)
    return reply


def _received(
    fifo: bool,  # noqa: FBT001 - bound once by position, never called by hand
    system: frozenset[str],
    names: tuple[str, ...],
    deliveries: tuple[Delivery, ...],
) -> Reply:
    if not deliveries:
        return {}
    return {"Messages": [_message(delivery, system, names, fifo=fifo) for delivery in deliveries]}


def _message(delivery: Delivery, system: frozenset[str], names: tuple[str, ...], *, fifo: bool) -> Reply:
    message = delivery.message
    reply: Reply = {
        "MessageId": message.id,
        "ReceiptHandle": delivery.handle,
        "MD5OfBody": message.body_md5,
        "Body": message.body,
    }
    if system:
        reply["Attributes"] = _system_attributes(delivery, system, fifo=fifo)
    if names and message.attributes:
        chosen = _chosen(message.attributes, names)
        if chosen:
            reply["MessageAttributes"] = chosen
            reply["MD5OfMessageAttributes"] = attributes_md5(chosen)
    return reply


def _system_attributes(delivery: Delivery, wanted: frozenset[str], *, fifo: bool) -> Mapping[str, str]:
    message = delivery.message
    known = {
        "SenderId": ACCOUNT_ID,
        "SentTimestamp": str(int(message.sent_at * 1_000)),
        "ApproximateReceiveCount": str(delivery.received),
        "ApproximateFirstReceiveTimestamp": str(int(delivery.first_received_at * 1_000)),
        "MessageGroupId": message.group,
        "MessageDeduplicationId": message.deduplication_id,
        "SequenceNumber": str(message.sequence) if fifo else None,
        "AWSTraceHeader": message.trace_header,
        "DeadLetterQueueSourceArn": message.dead_letter_source,
    }
    every = "All" in wanted
    return {name: text for name, text in known.items() if text is not None and (every or name in wanted)}


def _chosen(attributes: Attributes, names: tuple[str, ...]) -> Attributes:
    """Return the attributes that a receiver asked for by name, by `prefix.*`, or all."""
    if not _ALL_ATTRIBUTES.isdisjoint(names):
        return attributes
    prefixes = tuple(name.removesuffix(".*") for name in names if name.endswith(".*"))
    return {
        name: value for name, value in attributes.items() if name in names or (prefixes and name.startswith(prefixes))
    }
