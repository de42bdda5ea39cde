"""Ids of traces are a function of names, and a traceparent is read strictly."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from crds.names import AttemptId, RunUid
from crds.protocol import Grant, Message
from crds.spans import Span, open_export
from crds.traces import (
    attempt_span,
    attempt_trace,
    parse_traceparent,
    run_span,
    step_span,
    task_span,
    trace_id,
    traceparent,
)
from tests.otlp_receiver import Receiver

RUN, ATTEMPT = RunUid("0190aabb"), AttemptId("0190aabb/load/0/2")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_ids_are_derived() -> None:
    assert trace_id(RUN) == sha256(b"run\n0190aabb").hexdigest()[:32] == attempt_trace(ATTEMPT)
    spans = [run_span(RUN), task_span(RUN, "load", 0), attempt_span(ATTEMPT), step_span(ATTEMPT, "run")]
    assert len(set(spans)) == 4
    assert {len(span) for span in spans} == {16}


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        pytest.param(GOOD, True, id="sampled"),
        pytest.param(GOOD[:-2] + "00", False, id="not sampled"),
        pytest.param("01" + GOOD[2:] + "-more", True, id="a later version"),
        pytest.param("ff" + GOOD[2:], None, id="version ff"),
        pytest.param(GOOD.upper(), None, id="upper case"),
        pytest.param("00-" + "0" * 32 + GOOD[35:], None, id="no trace"),
        pytest.param(GOOD[:36] + "0" * 16 + "-01", None, id="no span"),
        pytest.param("x" * 10_000, None, id="long"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="none"),
    ],
)
def test_a_traceparent(text: str | None, sampled: bool | None) -> None:
    found = parse_traceparent(text)
    assert (found.sampled if found else None) == sampled
    if found and text == GOOD:
        assert traceparent(*found[:2], sampled=found.sampled) == GOOD


def test_versions_understand_each_other() -> None:
    import msgspec  # noqa: PLC0415

    class OldMessage(msgspec.Struct, rename="camel", omit_defaults=True):
        attempt: str
        delivery: int

    new = msgspec.json.encode(Message(ATTEMPT, 1, GOOD))
    assert msgspec.json.decode(new, type=OldMessage).attempt == ATTEMPT
    assert msgspec.json.decode(msgspec.json.encode(OldMessage(ATTEMPT, 1)), type=Message).traceparent is None
    assert b"traceparent" not in msgspec.json.encode(Message(ATTEMPT, 1))
    grant = b'{"attempt":"a","token":"t","task":{},"dag":"d","run":"r","namespace":"n","number":1,"timeoutSeconds":1}'
    assert msgspec.json.decode(grant, type=Grant).traceparent is None


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_spans_reach_a_collector(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with Receiver() as receiver:
        path = "/v1/traces" if "TRACES" in variable else ""
        monkeypatch.setenv(variable, receiver.url + path)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc")
        export = open_export({variable: receiver.url}, "setpoint-test")
        assert export is not None
        first = Span("run x", trace_id(RUN), run_span(RUN), None, NOW, NOW + timedelta(seconds=1), {"n": 1}, ok=True)
        second = Span("late", trace_id(RUN), "1" * 16, run_span(RUN), NOW, NOW - timedelta(seconds=1), error="why")
        export.tell([first, second])
        export.close()
        found = {span.name: span for span in receiver.spans()}
    run, late = found["run x"], found["late"]
    assert (run.trace, run.id, run.parent, run.status) == (first.trace, first.id, "", "ok")
    assert (run.service, run.attributes, run.end - run.start) == ("setpoint-test", {"n": 1}, 10**9)
    assert run.start % 10**9 == 678_901_000
    assert (late.parent, late.status, late.message, late.end) == (run.id, "error", "why", late.start)
    assert {headers["x-key"] for headers in receiver.headers} == {"abc"}


def test_the_sampler_goes_by_the_trace_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    one, other = open_export(endpoint, "a"), open_export(endpoint, "b")
    assert one is not None
    assert other is not None
    traces = [trace_id(RunUid(str(n))) for n in range(200)]
    kept = [one.sampled(trace) for trace in traces]
    assert kept == [other.sampled(trace) for trace in traces]
    assert 50 < sum(kept) < 150
    one.close()
    other.close()


def test_without_a_collector_nothing_is_imported() -> None:
    code = (
        "import sys, controller.cli.main, crds.spans, workers.traces;"
        "assert crds.spans.open_export({}, 'x') is None;"
        "assert crds.spans.open_export({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x', 'OTEL_SDK_DISABLED': 'true'}, 'x') is None;"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_a_dead_collector_holds_nobody_up() -> None:
    export = open_export({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, "x")
    assert export is not None
    for n in range(20):
        export.tell([Span(str(n), trace_id(RUN), f"{n + 1:016x}", None, NOW, NOW)] * 500)
    export.close()
