"""Queue attributes of the local SQS: which there are, their ranges, and what they mean."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from controller.local.sqs.errors import SqsError, invalid_attribute, invalid_value, unknown_attribute

MAX_MESSAGE_BYTES = 1_048_576
MAX_VISIBILITY_SECONDS = 43_200
MAX_DELAY_SECONDS = 900
MAX_WAIT_SECONDS = 20
MAX_RECEIVES = 1_000
FIFO_SUFFIX = ".fifo"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_NAME_LENGTH = 80
# Default, lowest, highest.
_NUMBERS = {
    "DelaySeconds": (0, 0, MAX_DELAY_SECONDS),
    "MaximumMessageSize": (MAX_MESSAGE_BYTES, 1_024, MAX_MESSAGE_BYTES),
    "MessageRetentionPeriod": (345_600, 60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 0, MAX_WAIT_SECONDS),
    "VisibilityTimeout": (30, 0, MAX_VISIBILITY_SECONDS),
}
# The first choice is the default.
_FIFO_CHOICES = {
    "FifoQueue": ("true",),
    "ContentBasedDeduplication": ("false", "true"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
_SSE = "SqsManagedSseEnabled"
# Kept and shown, without an effect here.
_OPAQUE = frozenset({"Policy", "RedriveAllowPolicy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", _SSE})
_REDRIVE = "RedrivePolicy"


@dataclass(frozen=True, slots=True)
class Redrive:
    """Where messages go that were received too often."""

    target_arn: str
    max_receives: int


@dataclass(frozen=True, slots=True)
class Settings:
    """What the attributes of a queue mean; spans are seconds."""

    fifo: bool
    delay: int
    max_bytes: int
    retention: int
    wait: int
    visibility: int
    content_based: bool
    dedup_by_group: bool
    redrive: Redrive | None

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> "Settings":
        """Read complete and valid attributes."""
        return cls(
            fifo=attributes.get("FifoQueue") == "true",
            delay=int(attributes["DelaySeconds"]),
            max_bytes=int(attributes["MaximumMessageSize"]),
            retention=int(attributes["MessageRetentionPeriod"]),
            wait=int(attributes["ReceiveMessageWaitTimeSeconds"]),
            visibility=int(attributes["VisibilityTimeout"]),
            content_based=attributes.get("ContentBasedDeduplication") == "true",
            dedup_by_group=attributes.get("DeduplicationScope") == "messageGroup",
            redrive=_redrive(attributes[_REDRIVE]) if _REDRIVE in attributes else None,
        )


def new_attributes(name: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the complete attributes of a new queue: what is given over the defaults of its type."""
    fifo = name.endswith(FIFO_SUFFIX)
    _check_name(name, given, fifo=fifo)
    attributes = {number: str(default) for number, (default, _, _) in _NUMBERS.items()} | {_SSE: "true"}
    if fifo:
        attributes |= {choice: values[0] for choice, values in _FIFO_CHOICES.items()}
    return changed_attributes(attributes, given)


def changed_attributes(current: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return `current` with the given attributes checked and put over it; an empty string removes one."""
    fifo = current.get("FifoQueue") == "true"
    attributes = dict(current)
    for name, value in given.items():
        if name in _OPAQUE or name == _REDRIVE:
            if not value:
                attributes.pop(name, None)
                continue
            if name == _REDRIVE:
                _redrive(value)
            attributes[name] = value
            continue
        attributes[name] = _checked(name, value, fifo=fifo)
    return attributes


def _check_name(name: str, given: Mapping[str, str], *, fifo: bool) -> None:
    if (fifo and len(name) > _NAME_LENGTH) or fifo != (given.get("FifoQueue") == "true"):
        raise SqsError(
            "InvalidParameterValue",
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
            "must end with .fifo suffix and be 1 to 80 in length; its attribute FifoQueue must be true.",
        )
    if not _NAME.fullmatch(name.removesuffix(FIFO_SUFFIX)):
        raise SqsError(
            "InvalidParameterValue",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )


def _checked(name: str, value: str, *, fifo: bool) -> str:
    if name in _NUMBERS:
        _, low, high = _NUMBERS[name]
        if not value.isdecimal() or not low <= int(value) <= high:
            raise invalid_attribute(name)
        return value
    if name not in _FIFO_CHOICES or not fifo:
        raise unknown_attribute(name)
    if value not in _FIFO_CHOICES[name]:
        raise invalid_attribute(name)
    return value


def _redrive(text: str) -> Redrive:
    try:
        policy = msgspec.json.decode(text, type=dict[str, str | int])
        target, receives = str(policy["deadLetterTargetArn"]), int(policy["maxReceiveCount"])
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        reason = "Give deadLetterTargetArn and maxReceiveCount as JSON."
        raise invalid_value(text, _REDRIVE, reason) from error
    if not target.startswith("arn:"):
        raise invalid_value(text, _REDRIVE, "Invalid value for deadLetterTargetArn.")
    if not 1 <= receives <= MAX_RECEIVES:
        valid = f"valid values are from 1 to {MAX_RECEIVES} both inclusive."
        raise invalid_value(text, _REDRIVE, f"Invalid value for maxReceiveCount: {receives}, {valid}")
    return Redrive(target, receives)
