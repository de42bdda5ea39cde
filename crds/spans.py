"""Spans as values, and their way to a collector by OTLP over HTTP; opentelemetry is imported only if there is one."""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from crds.traces import Caller

_log = structlog.get_logger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SCOPE = "setpoint"
MAX_MESSAGE = 500
CLOSE_SECONDS = 2.0
"""How long the end of a process waits for the collector to take what is left."""


@dataclass(frozen=True, slots=True)
class Span:
    """What happened from `start` to `end`. `error` is None if nothing is wrong, else why; `ok` says that all is well."""

    name: str
    trace: str
    id: str
    parent: str | None
    start: datetime
    end: datetime
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    kind: Literal["internal", "producer", "consumer"] = "internal"
    ok: bool = False
    error: str | None = None
    links: tuple[Caller, ...] = ()


class Export:
    """Hand spans over; nothing waits for a collector, and what a full queue pushes out is lost."""

    def __init__(
        self,
        sampled: Callable[[str], bool],
        emit: Callable[[Sequence[Span]], None],
        flush: Callable[[], object],
        close: Callable[[], None],
    ) -> None:
        self._emit = emit
        self._flush = flush
        self._close = close
        self.sampled = sampled
        """Whether a trace is kept: a function of its id, so every process decides alike."""

    def tell(self, spans: Sequence[Span]) -> None:
        """Export spans soon; whatever is wrong with that is no trouble of the caller."""
        kept = [span for span in spans if self.sampled(span.trace)]
        try:
            self._emit(kept)
        except Exception as error:  # noqa: BLE001 - a trace is never worth an attempt
            _log.warning("spans are lost", spans=len(kept), error=f"{type(error).__name__}: {error}")

    def flush(self, seconds: float) -> None:
        """Export what waits, for at most `seconds`."""
        _within(seconds, self._flush)

    def close(self) -> None:
        """Export what is left, for at most CLOSE_SECONDS."""
        _within(CLOSE_SECONDS, self._close)


def _within(seconds: float, act: Callable[[], object]) -> None:
    # The exporter repeats and waits by itself, so it gets a thread that may be left behind.
    thread = threading.Thread(target=act, name="spans", daemon=True)
    thread.start()
    thread.join(seconds)


def wanted(environment: Mapping[str, str]) -> bool:
    """Tell whether the standard variables name a collector."""
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    none = environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none"
    return not off and not none and any(environment.get(name, "").strip() for name in ENDPOINTS)


def open_export(environment: Mapping[str, str], service: str) -> Export | None:
    """Return the way to the collector that the standard variables name; None if they name none, or it cannot be used."""
    if not wanted(environment):
        return None
    try:
        return _open(environment, service)
    except Exception as error:  # noqa: BLE001 - a wrong OTEL_* variable must not keep a process from its work
        _log.error("traces are off", error=f"{type(error).__name__}: {error}", remedy="see docs/tracing-and-logs.md")
        return None


def _open(environment: Mapping[str, str], service: str) -> Export:
    api = importlib.import_module("opentelemetry.trace")
    sdk = importlib.import_module("opentelemetry.sdk.trace")
    batches = importlib.import_module("opentelemetry.sdk.trace.export")
    otlp = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    resources = importlib.import_module("opentelemetry.sdk.resources")
    scopes = importlib.import_module("opentelemetry.sdk.util.instrumentation")
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over the default name.
    named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = resources.Resource.create({} if named else {"service.name": service})
    provider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
    processor = batches.BatchSpanProcessor(otlp.OTLPSpanExporter())
    scope = scopes.InstrumentationScope(SCOPE)

    def sampled(trace: str) -> bool:
        decision = provider.sampler.should_sample(None, int(trace, 16), "run").decision
        return bool(decision.is_sampled())

    def emit(spans: Sequence[Span]) -> None:
        for span in spans:
            processor.on_end(_readable(api, sdk, span, resource, scope))

    return Export(sampled, emit, processor.force_flush, processor.shutdown)


def _readable(api: Any, sdk: Any, span: Span, resource: Any, scope: Any) -> Any:
    def context(trace: str, name: str, *, remote: bool) -> Any:
        return api.SpanContext(int(trace, 16), int(name, 16), remote, api.TraceFlags(api.TraceFlags.SAMPLED))

    return sdk.ReadableSpan(
        name=span.name,
        context=context(span.trace, span.id, remote=False),
        parent=context(span.trace, span.parent, remote=True) if span.parent else None,
        resource=resource,
        attributes=dict(span.attributes),
        links=[api.Link(context(caller.trace, caller.span, remote=True)) for caller in span.links],
        kind=api.SpanKind[span.kind.upper()],
        status=_status(api, span),
        start_time=_nanoseconds(span.start),
        # A span that ends before it begins is refused; two clocks may differ by that much.
        end_time=max(_nanoseconds(span.end), _nanoseconds(span.start)),
        instrumentation_scope=scope,
    )


def _status(api: Any, span: Span) -> Any:
    if span.error is not None:
        return api.Status(api.StatusCode.ERROR, span.error[:MAX_MESSAGE])
    return api.Status(api.StatusCode.OK if span.ok else api.StatusCode.UNSET)


def _nanoseconds(at: datetime) -> int:
    # A float of seconds would lose the microseconds' last digit.
    return int(at.timestamp()) * 10**9 + at.microsecond * 1000
