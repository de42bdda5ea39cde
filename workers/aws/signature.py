"""The signature of a webhook: HMAC-SHA256 of its time and raw body. Pure."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADER = "x-setpoint-signature"
TOLERANCE_SECONDS = 300
MAX_HEADER_CHARS = 1_000
MAX_SIGNATURES = 5
_TIME_DIGITS = 12


class SignatureError(ValueError):
    """A request that is not signed as it must be; the text says why and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What the header says: when it was signed, and with which results; a sender that rotates its secret sends two."""

    time: int
    digests: tuple[str, ...]


def parse(header: str) -> Signature:
    """Return what `t=<unix seconds>,v1=<hex>` says; raise SignatureError."""
    if not header:
        raise SignatureError("the header X-Setpoint-Signature is missing")
    parts = [part.strip().partition("=") for part in header[:MAX_HEADER_CHARS].split(",")]
    times = [value for name, _, value in parts if name == "t"]
    digests = tuple(value.lower() for name, _, value in parts if name == "v1")
    if len(times) != 1 or not (times[0].isascii() and times[0].isdecimal() and len(times[0]) <= _TIME_DIGITS):
        raise SignatureError("the signature has no time; send t=<unix seconds>,v1=<hex>")
    if not 1 <= len(digests) <= MAX_SIGNATURES:
        raise SignatureError(f"the signature has no v1, or more than {MAX_SIGNATURES}; send t=<unix seconds>,v1=<hex>")
    return Signature(int(times[0]), digests)


def sign(secret: bytes, time: int, body: bytes) -> str:
    """Return the hex HMAC-SHA256 of `<time>.<body>`."""
    return hmac.new(secret, b"%d.%b" % (time, body), hashlib.sha256).hexdigest()


def matches(signature: Signature, secrets: Iterable[bytes], body: bytes) -> bool:
    """Tell whether one of the secrets made the signature; every comparison is made, each in constant time."""
    found = False
    for secret in secrets:
        expected = sign(secret, signature.time, body).encode()
        for digest in signature.digests:
            found |= hmac.compare_digest(expected, digest.encode())
    return found


def check_time(signature: Signature, now: float) -> None:
    """Raise SignatureError for a request that was signed too long ago, or in the future."""
    if abs(now - signature.time) > TOLERANCE_SECONDS:
        raise SignatureError(
            f"the signature's time is more than {TOLERANCE_SECONDS} s away; sign again, or set the clock"
        )


def replay_key(path: str, signature: Signature, body: bytes) -> str:
    """Return the key by which a repeated request is known."""
    return hashlib.sha256(b"%b.%d.%b" % (path.encode(), signature.time, body)).hexdigest()
