"""Why a message did not go out, and what of that may be said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.errors import SetpointError
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

ERROR_CHARS = 300
"""The most characters of an error that are kept."""
_MASK = "***"


class Undelivered(SetpointError):
    """A message did not go out, or nobody knows whether it did; it is tried again later."""

    def __init__(self, message: str, reason: Reason = Reason.DELIVERY_FAILED, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after
        """Seconds that the receiver asked for."""


def said(text: str, secrets: Iterable[str]) -> str:
    """Return the first line of what a receiver or a library said, short, printable and without secrets."""
    for secret in sorted({s for s in secrets if s}, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    line = (text.strip().splitlines() or [""])[0]
    return "".join(c if c.isprintable() else " " for c in line)[:ERROR_CHARS]
