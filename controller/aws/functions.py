"""Lambda: invoke the function of an attempt, and learn which invocations Lambda gave up."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from controller.aws.errors import calling
from controller.aws.sqs import BATCH, MAX_DELIVERY
from controller.errors import SetpointError
from crds.names import parse_attempt_id
from crds.protocol import Invocation
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

WAIT_SECONDS = 3
"""How long a look at the failures waits for one; below the client's read timeout."""
TEXT_LIMIT = 1_000
_EXPIRED = "EventAgeExceeded"
_OUT_OF_MEMORY = ("Runtime.OutOfMemory", "signal: killed")
_TIMED_OUT = ("Sandbox.Timedout", "Task timed out after")


@dataclass(frozen=True, slots=True)
class FailedInvocation:
    """An invocation that Lambda gave up; `invocation` is None if it was none of ours."""

    handle: str
    invocation: Invocation | None
    reason: Reason
    message: str


class Functions(Protocol):
    """What the controller needs of Lambda."""

    def invoke(self, function: str, invocations: Sequence[Invocation]) -> list[Invocation]:
        """Have invocations run soon; return those that Lambda took."""
        ...

    def failures(self) -> list[FailedInvocation]:
        """Wait a little for invocations that Lambda gave up, and return up to BATCH of them."""
        ...

    def discard(self, failures: Sequence[FailedInvocation]) -> None:
        """Forget failures that were dealt with; the others come again."""
        ...


class LambdaFunctions:
    """Functions by boto3; `failures_queue` is the standard queue that is their on-failure destination."""

    def __init__(self, client: LambdaClient, queues: SQSClient, failures_queue: str) -> None:
        self._client = client
        self._queues = queues
        self._name = failures_queue
        self._url = ""
        self._lock = Lock()

    def invoke(self, function: str, invocations: Sequence[Invocation]) -> list[Invocation]:
        """Invoke asynchronously, one call each; after a refusal the rest waits for its deadline."""
        taken: list[Invocation] = []
        for invocation in invocations:
            try:
                with calling("lambda", "Invoke"):
                    self._client.invoke(
                        FunctionName=function, InvocationType="Event", Payload=msgspec.json.encode(invocation)
                    )
            except SetpointError:
                if not taken:
                    raise
                break
            taken.append(invocation)
        return taken

    def failures(self) -> list[FailedInvocation]:
        """Receive up to BATCH records of the failures queue."""
        with calling("sqs", "ReceiveMessage"):
            answer = self._queues.receive_message(
                QueueUrl=self._failures_url(), MaxNumberOfMessages=BATCH, WaitTimeSeconds=WAIT_SECONDS
            )
        return [decode(m["ReceiptHandle"], m["Body"]) for m in answer.get("Messages", [])]

    def discard(self, failures: Sequence[FailedInvocation]) -> None:
        """Delete records of the failures queue."""
        with calling("sqs", "DeleteMessageBatch"):
            self._queues.delete_message_batch(
                QueueUrl=self._failures_url(),
                Entries=[{"Id": str(n), "ReceiptHandle": f.handle} for n, f in enumerate(failures)],
            )

    def _failures_url(self) -> str:
        with self._lock:
            if not self._url:
                with calling("sqs", "GetQueueUrl"):
                    self._url = self._queues.get_queue_url(QueueName=self._name)["QueueUrl"]
            return self._url


def decode(handle: str, body: str) -> FailedInvocation:
    """Return what a record of an on-failure destination says, whoever wrote it.

    Its shape: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    try:
        record = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        record = None
    record = record if isinstance(record, dict) else {}
    context, response = _object(record, "requestContext"), _object(record, "responsePayload")
    reason, message = _why(str(context.get("condition")), response)
    return FailedInvocation(handle, _invocation(record.get("requestPayload")), reason, message[:TEXT_LIMIT])


def _object(record: dict[str, Any], name: str) -> dict[str, Any]:
    found = record.get(name)
    return found if isinstance(found, dict) else {}


def _why(condition: str, response: dict[str, Any]) -> tuple[Reason, str]:
    if condition == _EXPIRED:
        return Reason.THROTTLED, "Lambda found no room for it in time; raise the function's concurrency"
    kind, text = str(response.get("errorType") or ""), str(response.get("errorMessage") or "")
    said = f"{kind}: {text}" if kind else text or f"Lambda gave it up ({condition})"
    if any(mark in said for mark in _TIMED_OUT):
        return Reason.TIMED_OUT, said
    if any(mark in said for mark in _OUT_OF_MEMORY):
        return Reason.OUT_OF_MEMORY, f"{said}; raise the function's memory"
    return Reason.FUNCTION_FAILED, said


def _invocation(payload: object) -> Invocation | None:
    try:
        invocation = msgspec.convert(payload, Invocation)
        parse_attempt_id(invocation.attempt)
    except (msgspec.ValidationError, ValueError):
        return None
    return invocation if 0 < invocation.delivery <= MAX_DELIVERY else None
