"""Running one attempt: its child, its log, and what came of it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec
import structlog

from workers.attempt import Supervision
from workers.endings import Seen, ending, infrastructure
from workers.logs import AttemptLog
from workers.redaction import Redaction
from workers.traces import OFF

if TYPE_CHECKING:
    from crds.protocol import Grant, Report
    from workers.children import Child, Children
    from workers.clock import Clock
    from workers.frames import Run
    from workers.held import Held
    from workers.logs import Shipper
    from workers.traces import Traces
    from workers.wake import Wake
    from workers.workspace import Workspace

_log = structlog.get_logger(__name__)

CHILD_TRIES = 3


class Runner:
    """Run attempts in children and say how they ended."""

    def __init__(
        self, children: Children, workspace: Workspace, shipper: Shipper, clock: Clock, traces: Traces = OFF
    ) -> None:
        self._traces = traces
        self._children = children
        self._workspace = workspace
        self._shipper = shipper
        self._clock = clock

    def run(self, held: Held, wake: Wake) -> Report | None:
        """Run one attempt; return its report, or None if it was superseded."""
        grant = held.grant
        if held.stopping is not None:
            return ending(grant, Seen(stop=held.stopping))
        started = self._clock.monotonic()
        redaction = Redaction()
        redaction.add(grant.token)
        log = AttemptLog(grant.attempt, redaction, self._shipper, self._clock)
        try:
            with ExitStack() as kept:
                with self._traces.step(grant, "fetch"):
                    command = kept.enter_context(self._workspace.command(grant))
                command = msgspec.structs.replace(command, traceparent=self._traces.context(grant))
                with self._traces.step(grant, "run"):
                    report = self._supervise(held, wake, command, log, redaction, started)
        except Exception as error:  # noqa: BLE001 - whatever keeps us from running it is ours, and must be reported
            _log.exception("attempt.unstarted", attempt=grant.attempt)
            report = infrastructure(grant, "the worker could not run the attempt", error)
        log.close()
        if report is not None:
            self._traces.reporting(grant)
        return _complete(report, redaction, self._clock.monotonic() - started)

    def _supervise(
        self, held: Held, wake: Wake, command: Run, log: AttemptLog, redaction: Redaction, started: float
    ) -> Report | None:
        grant = held.grant
        deadline = self._clock.monotonic() + grant.timeout_seconds
        seen, peak = Seen(started=False), 0
        for _ in range(CHILD_TRIES):
            child = self._children.acquire(grant.bundle)
            watch = Supervision(child, held, log, redaction, self._clock)
            try:
                seen, peak = watch.run(command, wake, deadline), watch.peak_bytes
            finally:
                self._give_back(child, grant, seen)
            if watch.taken_at is not None:
                held.start_seconds = watch.taken_at - started
            # A child that died before it took the command has run nothing of the user's.
            if seen.started or seen.stop is not None:
                break
        if seen.finished is not None:
            self._traces.steps(grant, seen.finished.steps)
        report = ending(grant, seen)
        if report is None or not peak:
            return report
        return msgspec.structs.replace(report, metrics={**report.metrics, "peakMemoryBytes": peak})

    def _give_back(self, child: Child, grant: Grant, seen: Seen) -> None:
        done = seen.finished
        reusable = done is not None and done.reusable and seen.stop is None
        resident = done.resident_bytes if done is not None else 0
        self._children.release(child, grant.bundle, reusable=reusable, resident_bytes=resident)


def _complete(report: Report | None, redaction: Redaction, seconds: float) -> Report | None:
    """Add how long it took, and keep secrets out of the error."""
    if report is None:
        return None
    error = report.error
    if error is not None:
        message, trace = redaction.clean(error.message), redaction.clean(error.traceback)
        error = msgspec.structs.replace(error, message=message, traceback=trace)
    metrics = {**report.metrics, "seconds": round(seconds, 4)}
    return msgspec.structs.replace(report, error=error, metrics=metrics)
