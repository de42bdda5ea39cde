"""Tell a collector what this worker does for an attempt; without a collector nothing is told, and nothing imported."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from crds.spans import Span
from crds.traces import attempt_span, attempt_trace, parse_traceparent, step_span, traceparent
from workers.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from crds.names import AttemptId
    from crds.protocol import Grant
    from crds.spans import Export
    from workers.frames import Step

FLUSH_SECONDS = 0.5
"""How long a Lambda invocation waits for the collector, since its process is frozen afterwards."""


class Traces:
    """Spans of the steps of this worker's attempts, below the attempts' own, which the dispatcher sends."""

    def __init__(self, export: Export | None, clock: Clock) -> None:
        self._export = export
        self._clock = clock
        # Bounded by the slots: an attempt is held until its report is answered.
        self._reports: dict[AttemptId, datetime] = {}

    @contextmanager
    def step(self, grant: Grant, name: str) -> Iterator[None]:
        """Tell how long the block took, and whether it raised."""
        if self._export is None or not _wanted(grant):
            yield
            return
        start, error = self._clock.now(), None
        try:
            yield
        except Exception as raised:
            # The message may hold what must not leave; the class says enough beside the log.
            error = type(raised).__name__
            raise
        finally:
            self._tell([self._span(grant.attempt, name, start, self._clock.now(), error=error)])

    def steps(self, grant: Grant, steps: Sequence[Step]) -> None:
        """Tell of the steps that the child has named, below the step `run`."""
        if self._export is None or not _wanted(grant):
            return
        above = step_span(grant.attempt, "run")
        self._tell(
            [
                self._span(grant.attempt, step.name, step.start, step.end, above=above, error=step.error or None)
                for step in steps
            ]
        )

    def context(self, grant: Grant) -> str | None:
        """Return the traceparent for user code: the step that runs it, or the attempt if this worker tells of no steps."""
        caller = parse_traceparent(grant.traceparent)
        if self._export is None:
            return grant.traceparent if caller else None
        trace = attempt_trace(grant.attempt)
        sampled = _wanted(grant) and self._export.sampled(trace)
        return traceparent(trace, step_span(grant.attempt, "run"), sampled=sampled)

    def reporting(self, grant: Grant) -> None:
        """Remember that the report of an attempt is on its way."""
        if self._export is not None and _wanted(grant):
            self._reports[grant.attempt] = self._clock.now()

    def reported(self, attempt: AttemptId, verdict: str) -> None:
        """Tell how long the report took, and what became of it."""
        start = self._reports.pop(attempt, None)
        if start is not None:
            error = None if verdict == "recorded" else verdict
            self._tell([self._span(attempt, "report", start, self._clock.now(), error=error)])

    def flush(self) -> None:
        """Send what waits, for at most FLUSH_SECONDS."""
        if self._export is not None:
            self._export.flush(FLUSH_SECONDS)

    def close(self) -> None:
        """Send what is left, within a bound."""
        if self._export is not None:
            self._export.close()

    def _tell(self, spans: Sequence[Span]) -> None:
        if self._export is not None:
            self._export.tell(spans)

    @staticmethod
    def _span(
        attempt: AttemptId, name: str, start: datetime, end: datetime, *, above: str | None = None, error: str | None
    ) -> Span:
        return Span(
            name=name,
            trace=attempt_trace(attempt),
            id=step_span(attempt, name),
            parent=above or attempt_span(attempt),
            start=start,
            end=end,
            attributes={"setpoint.attempt": attempt, "setpoint.step": name},
            error=error,
        )


OFF = Traces(None, Clock())
"""Tells nobody anything."""


def _wanted(grant: Grant) -> bool:
    """Tell whether the dispatcher keeps the trace; one that says nothing leaves it to this worker's own sampler."""
    caller = parse_traceparent(grant.traceparent)
    return caller is None or caller.sampled
