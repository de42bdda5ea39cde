"""What a worker tells of an attempt, and what user code sees of its trace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from crds.names import AttemptId
from crds.protocol import Grant
from crds.spans import Export
from crds.traces import attempt_span, attempt_trace, parse_traceparent, step_span, traceparent
from workers.clock import Clock
from workers.continuing import continued
from workers.frames import Step
from workers.traces import OFF, Traces

if TYPE_CHECKING:
    from crds.spans import Span

ATTEMPT = AttemptId("run1/load/0/1")
TRACE, ABOVE = attempt_trace(ATTEMPT), attempt_span(ATTEMPT)
KEPT, NOT_KEPT = (traceparent(TRACE, ABOVE, sampled=sampled) for sampled in (True, False))
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def granted(context: str | None) -> Grant:
    return Grant(ATTEMPT, "t", {}, "d", "r", "default", 1, 1.0, traceparent=context)


def tracing(told: list[Span]) -> Traces:
    return Traces(Export(lambda _: True, told.extend, lambda: None, lambda: None), Clock())


def test_the_steps_of_an_attempt() -> None:
    told: list[Span] = []
    traces, grant = tracing(told), granted(KEPT)
    with traces.step(grant, "fetch"):
        pass
    traces.steps(grant, [Step("work", NOW, NOW + timedelta(seconds=2), "KeyError")])
    traces.reporting(grant)
    traces.reported(ATTEMPT, "stale")
    traces.reported(ATTEMPT, "recorded")

    def refused() -> None:
        with traces.step(grant, "run"):
            raise ValueError("a secret")

    with pytest.raises(ValueError, match="a secret"):
        refused()
    assert [(s.name, s.parent, s.error) for s in told] == [
        ("fetch", ABOVE, None),
        ("work", step_span(ATTEMPT, "run"), "KeyError"),
        ("report", ABOVE, "stale"),
        ("run", ABOVE, "ValueError"),
    ]
    assert {s.trace for s in told} == {TRACE}
    assert [s.id for s in told] == [step_span(ATTEMPT, s.name) for s in told]


@pytest.mark.parametrize(
    ("context", "spans"),
    [
        pytest.param(KEPT, 1, id="kept"),
        pytest.param(NOT_KEPT, 0, id="not sampled by the dispatcher"),
        pytest.param(None, 1, id="an old dispatcher says nothing"),
        pytest.param("garbage", 1, id="what is no context"),
    ],
)
def test_who_decides(context: str | None, spans: int) -> None:
    told: list[Span] = []
    with tracing(told).step(granted(context), "fetch"):
        pass
    assert len(told) == spans


@pytest.mark.parametrize(
    ("traces", "context", "seen"),
    [
        pytest.param(tracing([]), KEPT, (TRACE, step_span(ATTEMPT, "run"), True), id="below the step that runs it"),
        pytest.param(tracing([]), NOT_KEPT, (TRACE, step_span(ATTEMPT, "run"), False), id="not sampled"),
        pytest.param(OFF, KEPT, (TRACE, ABOVE, True), id="a worker without a collector"),
        pytest.param(OFF, None, None, id="nobody traces"),
        pytest.param(OFF, "garbage", None, id="what is no context"),
    ],
)
def test_what_user_code_sees(traces: Traces, context: str | None, seen: tuple[str, str, bool] | None) -> None:
    assert parse_traceparent(traces.context(granted(context))) == seen


def test_user_code_that_traces_continues_the_trace() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("user")
    with continued(KEPT), tracer.start_as_current_span("query"):
        pass
    with continued(None), tracer.start_as_current_span("alone"):
        pass
    query, alone = exporter.get_finished_spans()
    assert f"{query.context.trace_id:032x}" == TRACE
    assert query.parent is not None
    assert f"{query.parent.span_id:016x}" == ABOVE
    assert alone.parent is None
