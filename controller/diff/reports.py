"""What a worker's report does to its attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

from controller.diff.settle import Ended
from crds.phases import AttemptPhase
from crds.reasons import Reason

if TYPE_CHECKING:
    from crds.protocol import Report


@dataclass(frozen=True, slots=True)
class Reported:
    """An attempt as a report finds it."""

    phase: AttemptPhase
    token_fits: bool
    reported: bool
    cancelling: bool


Verdict = Literal["recorded", "stale"] | Ended


def judge(found: Reported | None, report: Report) -> Verdict:
    """Return how the report ends the attempt, or the answer if it changes nothing.

    A repeated report gets the first answer; the report of an attempt that the controller gave up is stale. A committed attempt
    is durable: whatever its worker says, it succeeded.
    """
    if found is None or not found.token_fits:
        return "stale"
    match found.phase:
        case AttemptPhase.COMMITTED:
            return Ended(AttemptPhase.SUCCEEDED, Reason.SUCCEEDED)
        case AttemptPhase.RUNNING:
            return _end(report, cancelling=found.cancelling)
        case AttemptPhase.PENDING | AttemptPhase.QUEUED:
            return "stale"
        case AttemptPhase.SUCCEEDED:
            # Perhaps the controller ended it from its commit before this came; that supersedes nothing.
            return "recorded"
        case (
            AttemptPhase.FAILED
            | AttemptPhase.TIMED_OUT
            | AttemptPhase.LOST
            | AttemptPhase.EVICTED
            | AttemptPhase.CANCELLED
            | AttemptPhase.UNDELIVERABLE
        ):
            return "recorded" if found.reported else "stale"
        case _:
            assert_never(found.phase)


def _end(report: Report, *, cancelling: bool) -> Ended:
    error = report.error
    message = error.message if error else ""
    kind = error.kind if error else ""
    match report.outcome:
        case "succeeded":
            return Ended(AttemptPhase.SUCCEEDED, Reason.SUCCEEDED)
        case "failed":
            return Ended(AttemptPhase.FAILED, _reason(error.reason if error else "", Reason.USER_ERROR), message, kind)
        case "timedOut":
            return Ended(AttemptPhase.TIMED_OUT, Reason.TIMED_OUT, message, kind or "Timeout")
        case "evicted":
            return Ended(AttemptPhase.EVICTED, Reason.EVICTED, message)
        case "cancelled":
            return Ended(AttemptPhase.CANCELLED, Reason.CANCELLED, message)
        case "lost":
            if cancelling:
                return Ended(AttemptPhase.CANCELLED, Reason.CANCELLED, message)
            return Ended(AttemptPhase.LOST, _reason(error.reason if error else "", Reason.CHILD_DIED), message, kind)


def _reason(text: str, otherwise: Reason) -> Reason:
    return Reason(text) if text in set(Reason) else otherwise
