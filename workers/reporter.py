"""Saying how attempts ended, until the dispatcher has recorded it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from crds.names import AttemptId
from crds.protocol import MAX_BATCH, Report, ReportRequest
from workers.backoff import Backoff
from workers.client import Refused, Unreachable
from workers.grouping import Grouping
from workers.traces import OFF

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from crds.protocol import Grant, ReportAnswer
    from workers.client import Dispatcher
    from workers.clock import Draw
    from workers.held import Registry
    from workers.identity import Identity
    from workers.metrics import Metrics
    from workers.traces import Traces

_log = structlog.get_logger(__name__)


class Reporter:
    """Report attempts in groups; an attempt and its slot are held until its report was answered.

    The answer may bring the next attempts for the slots that it frees; only else does the receiver ask the queue for them.
    """

    def __init__(
        self,
        identity: Identity,
        dispatcher: Dispatcher,
        registry: Registry,
        metrics: Metrics,
        draw: Draw,
        traces: Traces = OFF,
    ) -> None:
        self._traces = traces
        self._identity = identity
        self._dispatcher = dispatcher
        self._registry = registry
        self._metrics = metrics
        self._draw = draw
        self._grouping: Grouping[Report] = Grouping("reporter", self._send, MAX_BATCH)

    def start(self, given_up: Event, start: Callable[[Sequence[Grant]], None], takes: Callable[[], bool]) -> None:
        """Start reporting.

        `given_up` ends the tries at shutdown, `start` takes the grants of an answer, `takes` tells whether any are wanted.
        """
        self._given_up = given_up
        self._start = start
        self._takes = takes
        self._grouping.start()

    def submit(self, report: Report) -> None:
        """Report one attempt as soon as possible."""
        self._grouping.submit(report)

    def close(self, seconds: float) -> bool:
        """Wait until all is reported, at most `seconds`; return whether it is."""
        return self._grouping.close(seconds)

    def _send(self, reports: Sequence[Report]) -> None:
        waiting = {report.attempt: report for report in reports}
        backoff = Backoff(self._draw)
        while waiting:
            try:
                answer = self._repeat(list(waiting.values()), backoff)
            except Refused as error:
                self._split(list(waiting.values()), error)
                return
            if answer is None:
                return
            self._apply(answer, waiting)
            if waiting:
                backoff.wait(self._given_up)

    def _repeat(self, reports: list[Report], backoff: Backoff) -> ReportAnswer | None:
        """Report until there is an answer; return None when all is given up."""
        # Drawn once an answer: if one is lost, the repeated request gets the same grants again.
        request = self._draw.token()
        with self._dispatcher.awaiting(request):
            while not self._given_up.is_set():
                try:
                    return self._post(reports, request)
                except Unreachable as error:
                    _log.warning("report.repeated", attempts=len(reports), failures=backoff.failures, error=str(error))
                    backoff.wait(self._given_up)
        return None

    def _post(self, reports: list[Report], token: str) -> ReportAnswer:
        request = ReportRequest(
            reports=reports,
            free=len(reports) if self._takes() else 0,
            request=token,
            worker=self._identity.worker,
            pool=self._identity.pool,
            namespace=self._identity.namespace,
        )
        with self._metrics.report_seconds.time():
            return self._dispatcher.report(request)

    def _apply(self, answer: ReportAnswer, waiting: dict[AttemptId, Report]) -> None:
        # The new ones first: their slots are not for the receiver.
        self._start(answer.grants)
        for attempt, verdict in answer.reports.items():
            report = waiting.pop(AttemptId(attempt), None)
            if report is None:
                continue
            self._registry.forget(report.attempt)
            self._traces.reported(report.attempt, verdict)
            if verdict == "stale":
                self._metrics.stale.inc()
            _log.info("attempt.reported", attempt=attempt, outcome=report.outcome, verdict=verdict)

    def _split(self, reports: list[Report], error: Refused) -> None:
        """Report one by one, so that one report that is refused for good does not hold up the others."""
        if len(reports) > 1:
            for report in reports:
                self._send([report])
            return
        # Held no longer, the attempt is missing from the heartbeats, and the controller will call it lost.
        self._registry.forget(reports[0].attempt)
        self._traces.reported(reports[0].attempt, "refused")
        _log.error("report.refused", attempt=reports[0].attempt, error=str(error))
