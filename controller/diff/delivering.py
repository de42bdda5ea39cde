"""When a message that did not go out is tried again, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.runtime.backoff import exponential, jittered
from crds.reasons import Reason

GIVE_UP_AFTER = timedelta(hours=24)
MESSAGE_FIRST, MESSAGE_MOST = timedelta(seconds=5), timedelta(minutes=15)
CHANNEL_FIRST, CHANNEL_MOST = timedelta(seconds=2), timedelta(minutes=1)
FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class Again:
    """Try the message at a time, and nothing by its channel before another."""

    message_at: datetime
    channel_at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Let the message go; its channel may do better with the next one from a time on."""

    channel_at: datetime


@dataclass(frozen=True, slots=True)
class Failed:
    """A try that failed: the message, how often it was tried, and how often in a row its channel has failed with this."""

    id: str
    created_at: datetime
    tries: int
    failures: int
    retry_after: timedelta | None = None
    """What the receiver asked for."""
    reason: Reason = Reason.DELIVERY_FAILED


def after(failed: Failed, now: datetime) -> Again | GiveUp:
    """Return what follows on a try that failed; waits are derived from the message's id, half fixed and half jitter."""
    name = f"{failed.id}/{failed.tries}"
    channel_at = now + max(
        _wait(CHANNEL_FIRST, CHANNEL_MOST, failed.failures, name), failed.retry_after or timedelta(0)
    )
    if now - failed.created_at >= GIVE_UP_AFTER:
        return GiveUp(channel_at)
    if failed.reason is Reason.SECRET_MISSING:
        # No message is at fault: all go out as soon as there is a secret.
        return Again(channel_at, channel_at)
    return Again(max(now + _wait(MESSAGE_FIRST, MESSAGE_MOST, failed.tries, name), channel_at), channel_at)


def _wait(first: timedelta, most: timedelta, failures: int, name: str) -> timedelta:
    half = exponential(first, FACTOR, most, failures) / 2
    return half + jittered(half, name)
