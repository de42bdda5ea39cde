"""Receipt handles: which message was received, and the how-manieth time that was."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

from controller.local.sqs.errors import invalid_handle


class Receipt(NamedTuple):
    """One delivery of one message."""

    sequence: int
    received: int


def issue(queue: str, receipt: Receipt) -> str:
    """Return the opaque handle of a delivery."""
    return urlsafe_b64encode(f"{queue}/{receipt.sequence}/{receipt.received}".encode()).decode()


def read(queue: str, handle: str) -> Receipt:
    """Return the delivery that a handle of this queue names, also one from before a restart."""
    try:
        name, sequence, received = urlsafe_b64decode(handle.encode()).decode().split("/")
        receipt = Receipt(int(sequence), int(received))
    except ValueError as error:
        raise invalid_handle(handle) from error
    if name != queue:
        raise invalid_handle(handle)
    return receipt
