"""Have spans of user code continue the trace; apart from the rest, since the child imports it."""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from crds.traces import parse_traceparent

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def continued(text: str | None) -> Iterator[None]:
    """Have spans of user code, if it uses opentelemetry, stand below the one that `text` names."""
    caller = parse_traceparent(text)
    if caller is None or find_spec("opentelemetry") is None:
        yield
        return
    api = importlib.import_module("opentelemetry.trace")
    contexts = importlib.import_module("opentelemetry.context")
    flags = api.TraceFlags(api.TraceFlags.SAMPLED if caller.sampled else api.TraceFlags.DEFAULT)
    span = api.NonRecordingSpan(api.SpanContext(int(caller.trace, 16), int(caller.span, 16), True, flags))
    token = contexts.attach(api.set_span_in_context(span))
    try:
        yield
    finally:
        contexts.detach(token)
