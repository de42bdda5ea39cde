"""Ids of traces and spans, derived from names, so that no process has to remember one. Pure.

A run is a trace; below it stand its tasks, below a task its attempts, below an attempt what was done for it.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from crds.names import parse_attempt_id

if TYPE_CHECKING:
    from crds.names import AttemptId, RunUid

# https://www.w3.org/TR/trace-context/#traceparent-header; ids of zeros only are invalid, and so is version ff.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")


class Caller(NamedTuple):
    """The span that a traceparent names."""

    trace: str
    span: str
    sampled: bool


def trace_id(run: RunUid) -> str:
    """Return the trace of a run, 32 hexadecimal digits."""
    return _digest("run", run)[:32]


def run_span(run: RunUid) -> str:
    """Return the span of a run, 16 hexadecimal digits."""
    return _digest("run-span", run)[:16]


def task_span(run: RunUid, task: str, index: int) -> str:
    """Return the span of one task of a run."""
    return _digest("task", f"{run}/{task}/{index}")[:16]


def attempt_span(attempt: AttemptId) -> str:
    """Return the span of an attempt."""
    return _digest("attempt", attempt)[:16]


def step_span(attempt: AttemptId, step: str) -> str:
    """Return the span of what was done for an attempt: send, fetch, run."""
    return _digest(step, attempt)[:16]


def attempt_trace(attempt: AttemptId) -> str:
    """Return the trace that an attempt belongs to; raise ValueError if it is no attempt id."""
    return trace_id(parse_attempt_id(attempt).run)


def traceparent(trace: str, span: str, *, sampled: bool) -> str:
    """Return a span as W3C Trace Context writes it."""
    return f"00-{trace}-{span}-{'01' if sampled else '00'}"


def parse_traceparent(text: str | None) -> Caller | None:
    """Return the span that a traceparent names, or None if it names none."""
    found = _TRACEPARENT.fullmatch(text) if text is not None and len(text) <= 256 else None
    return Caller(found[1], found[2], bool(int(found[3], 16) & 1)) if found else None


def _digest(kind: str, name: str) -> str:
    return sha256(f"{kind}\n{name}".encode()).hexdigest()
