"""Messages of the local SQS: what a sender hands in, what is kept, sizes and checksums."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import md5, sha256
from struct import pack

import msgspec

from controller.local.sqs.errors import SqsError, invalid_parameter

MAX_MESSAGE_ATTRIBUTES = 10
# The characters that XML 1.0 allows; SQS refuses a body with any other.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STRING_TRANSPORT = b"\x01"
_BINARY_TRANSPORT = b"\x02"


class AttributeValue(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """The value of one message attribute; `binary_value` is base64 on the wire."""

    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None

    @property
    def encoded(self) -> bytes:
        """Return the value as the bytes that are counted and hashed."""
        if self.data_type.startswith("Binary"):
            return self.binary_value or b""
        return (self.string_value or "").encode()


Attributes = Mapping[str, AttributeValue]


class Draft(msgspec.Struct, kw_only=True, rename="pascal"):
    """A message as its sender describes it."""

    message_body: str
    delay_seconds: int | None = None
    message_attributes: dict[str, AttributeValue] = {}
    message_system_attributes: dict[str, AttributeValue] = {}
    message_deduplication_id: str | None = None
    message_group_id: str | None = None

    @property
    def size(self) -> int:
        """Return the bytes that count against the limit: the body and its attributes."""
        size = len(self.message_body.encode())
        for name, value in self.message_attributes.items():
            size += len(name.encode()) + len(value.data_type) + len(value.encoded)
        return size

    def check(self, limit: int) -> None:
        """Raise what SQS answers to a body or attributes that it does not take."""
        if not self.message_body:
            raise SqsError("MissingParameter", "The request must contain the parameter MessageBody.")
        if self.size > limit:
            reason = f"Message must be shorter than {limit} bytes."
            raise invalid_parameter(f"One or more parameters are invalid. Reason: {reason}")
        if _FORBIDDEN.search(self.message_body):
            raise SqsError("InvalidMessageContents", "Invalid characters found. Send valid XML 1.0 text.")
        if len(self.message_attributes) > MAX_MESSAGE_ATTRIBUTES:
            raise invalid_parameter(
                f"Number of message attributes [{len(self.message_attributes)}] "
                f"exceeds the allowed maximum [{MAX_MESSAGE_ATTRIBUTES}]."
            )
        for name, value in self.message_attributes.items():
            _check_attribute(name, value)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the queue keeps it; times are epoch seconds, as SQS speaks them."""

    id: str
    body: str
    body_md5: str
    sequence: int
    sent_at: float
    group: str | None = None
    deduplication_id: str | None = None
    attributes: Attributes = field(default_factory=dict)
    trace_header: str | None = None
    dead_letter_source: str | None = None


def message_id(queue: str, sequence: int) -> str:
    """Derive the id of a message from its place, in the form of a UUID."""
    digest = text_md5(f"{queue}/{sequence}")
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


def text_md5(text: str) -> str:
    """Return the checksum that SDKs compare with the body that they sent or got."""
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def content_id(body: str) -> str:
    """Return the deduplication id of a body, for ContentBasedDeduplication."""
    return sha256(body.encode()).hexdigest()


def attributes_md5(attributes: Attributes) -> str:
    """Return the checksum over attributes, laid out as the SQS developer guide says."""
    digest = md5(usedforsecurity=False)
    for name in sorted(attributes):
        value = attributes[name]
        binary = value.data_type.startswith("Binary")
        for part in (name.encode(), value.data_type.encode()):
            digest.update(pack("!I", len(part)) + part)
        encoded = value.encoded
        digest.update(_BINARY_TRANSPORT if binary else _STRING_TRANSPORT)
        digest.update(pack("!I", len(encoded)) + encoded)
    return digest.hexdigest()


def _check_attribute(name: str, value: AttributeValue) -> None:
    kind = value.data_type.split(".")[0]
    if kind not in {"String", "Number", "Binary"}:
        raise invalid_parameter(
            f"The type of message (user) attribute '{name}' is invalid. "
            "You must use only the following supported type prefixes: Binary, Number, String."
        )
    if not value.encoded:
        raise invalid_parameter(f"Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'.")
