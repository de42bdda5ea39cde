"""Whether a worker gets the attempt that it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

from crds.phases import AttemptPhase
from crds.reasons import Reason


@dataclass(frozen=True, slots=True)
class Asked:
    """An attempt as a claim finds it."""

    phase: AttemptPhase
    pool: str
    request: str | None
    worker: str | None
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who asks."""

    pool: str
    request: str
    worker: str
    drain: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """`grant`: claim it now. `again`: the same request gets the same grant. `drop`: delete the message. `later`: keep it."""

    verdict: Literal["grant", "again", "drop", "later"]
    reason: Reason = Reason.READY


def decide(asked: Asked | None, claimant: Claimant) -> Answer:
    """Return the answer to one claim. An attempt Pending or Queued is granted, whatever delivery the message names."""
    if asked is None:
        return Answer("drop", Reason.UNKNOWN)
    if asked.pool != claimant.pool:
        return Answer("drop", Reason.WRONG_POOL)
    match asked.phase:
        case AttemptPhase.PENDING | AttemptPhase.QUEUED:
            if asked.cancelled:
                return Answer("drop", Reason.CANCELLED)
            return Answer("later", Reason.BUSY) if claimant.drain else Answer("grant")
        case AttemptPhase.RUNNING | AttemptPhase.COMMITTED:
            if (asked.request, asked.worker) == (claimant.request, claimant.worker):
                return Answer("again")
            return Answer("drop", Reason.ALREADY_CLAIMED)
        case (
            AttemptPhase.SUCCEEDED
            | AttemptPhase.FAILED
            | AttemptPhase.TIMED_OUT
            | AttemptPhase.LOST
            | AttemptPhase.EVICTED
            | AttemptPhase.CANCELLED
            | AttemptPhase.UNDELIVERABLE
        ):
            return Answer("drop", Reason.FINAL)
        case _:
            assert_never(asked.phase)
