"""What one attempt's log and errors must not hold: the secrets that it has resolved, and those of its worker."""

from __future__ import annotations

from crds.redaction import KNOWN, MASK
from crds.redaction import Redaction as _Redaction

__all__ = ["MASK", "Redaction"]


class Redaction(_Redaction):
    """The values that one attempt has resolved, and their removal from text."""

    def __init__(self) -> None:
        super().__init__(also=KNOWN)
