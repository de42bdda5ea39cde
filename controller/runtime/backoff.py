"""Exponential backoff, with full jitter where the wait belongs to an attempt."""

from __future__ import annotations

import hashlib
from datetime import timedelta

KEY_BACKOFF_FIRST = timedelta(milliseconds=5)
KEY_BACKOFF_MOST = timedelta(minutes=5)


def exponential(initial: timedelta, factor: float, most: timedelta, failures: int) -> timedelta:
    """Return min(most, initial × factor^(failures - 1)); failures counts from 1."""
    exponent = min(max(failures - 1, 0), 64)
    return min(most, timedelta(seconds=min(initial.total_seconds() * factor**exponent, most.total_seconds())))


def jittered(span: timedelta, name: str) -> timedelta:
    """Return a part of the span, from 0 to all of it, derived from the name.

    Full jitter spreads retries best (AWS Architecture Blog, "Exponential Backoff And Jitter"); a hash of the attempt id in
    place of a random number gives the same wait however often it is computed.
    """
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return span * (int.from_bytes(digest) / 2**64)
