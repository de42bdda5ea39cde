"""What to report of an attempt, from what was seen of it. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

from crds.protocol import Report, TaskError
from crds.reasons import Reason
from workers.held import Stop

if TYPE_CHECKING:
    from crds.protocol import Grant
    from workers.frames import Finished

Outcome = Literal["succeeded", "failed", "timedOut", "evicted", "cancelled", "lost"]


@dataclass(frozen=True, slots=True)
class Seen:
    """How one attempt's child ended: what it said last, why we stopped it, and how the process went."""

    finished: Finished | None = None
    stop: Stop | None = None
    exit_code: int | None = None
    out_of_memory: bool = False
    broken: str = ""
    started: bool = True


def ending(grant: Grant, seen: Seen) -> Report | None:
    """Return the report of an attempt, or None if it was superseded and nothing is to be said.

    What succeeded has succeeded, even if it was asked to stop: its rows may be committed already.
    """
    finished = seen.finished
    if seen.stop is Stop.STALE or (finished is not None and finished.status == "stale"):
        return None
    if finished is not None and finished.status == "succeeded":
        return Report(
            attempt=grant.attempt,
            token=grant.token,
            outcome="succeeded",
            outputs=finished.outputs,
            writes=finished.writes,
            bookmark=finished.bookmark,
            metrics=finished.metrics,
        )
    if seen.stop is not None:
        return _stopped(grant, seen.stop)
    if finished is not None:
        outcome: Outcome = "lost" if finished.status == "lost" else "failed"
        return _report(grant, outcome, finished.error or TaskError(Reason.USER_ERROR), finished.metrics)
    return _died(grant, seen)


def infrastructure(grant: Grant, what: str, error: Exception) -> Report:
    """Return the report of an attempt whose code never ran because of us."""
    message = f"{what}: {type(error).__name__}: {error}"
    return _report(grant, "lost", TaskError(Reason.INFRASTRUCTURE_ERROR, type(error).__name__, message))


def _stopped(grant: Grant, stop: Stop) -> Report | None:
    match stop:
        case Stop.CANCEL:
            return _report(grant, "cancelled", TaskError(Reason.CANCELLED, message="cancelled while it ran"))
        case Stop.EVICT:
            return _report(grant, "evicted", TaskError(Reason.EVICTED, message="its worker was stopped"))
        case Stop.TIMEOUT:
            message = f"ran longer than its timeout of {grant.timeout_seconds:g} s"
            return _report(grant, "timedOut", TaskError(Reason.TIMED_OUT, "Timeout", message))
        case Stop.MEMORY:
            return _report(grant, "failed", _out_of_memory(grant))
        case Stop.STALE:
            return None
        case _:
            assert_never(stop)


def _died(grant: Grant, seen: Seen) -> Report:
    code = seen.exit_code
    if not seen.started:
        message = f"the process for the task did not start (exit code {code}); see the log of the attempt"
        return _report(grant, "lost", TaskError(Reason.INFRASTRUCTURE_ERROR, message=message))
    if seen.out_of_memory and code in {-signal.SIGKILL, 128 + signal.SIGKILL}:
        return _report(grant, "failed", _out_of_memory(grant))
    if code is not None and code >= 0 and not seen.broken:
        message = f"the process of the task exited with code {code} before the task returned"
        return _report(grant, "failed", TaskError(Reason.USER_ERROR, "ExitCode", message))
    message = seen.broken or f"the process of the task was killed by {_signal_name(code)}"
    return _report(grant, "lost", TaskError(Reason.CHILD_DIED, message=message))


def _out_of_memory(grant: Grant) -> TaskError:
    limit = f"{grant.memory_bytes / 2**20:.0f} MiB" if grant.memory_bytes is not None else "what there is"
    message = f"needed more memory than its limit of {limit}; raise `memory`, or read less at once"
    return TaskError(Reason.OUT_OF_MEMORY, "OutOfMemory", message)


def _signal_name(code: int | None) -> str:
    if code is None:
        return "a signal"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _report(grant: Grant, outcome: Outcome, error: TaskError, metrics: dict[str, float] | None = None) -> Report:
    return Report(attempt=grant.attempt, token=grant.token, outcome=outcome, error=error, metrics=metrics or {})
