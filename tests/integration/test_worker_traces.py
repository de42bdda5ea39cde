"""A worker process, its child and a collector: who tells what, and what user code and the log know of the trace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from crds.names import AttemptId
from crds.traces import attempt_span, attempt_trace, step_span, traceparent
from tests.integration.worker_world import sqs_server, world
from tests.otlp_receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.worker_world import World

CODE = """
import os
def main(ctx):
    return {"seen": os.environ.get("TRACEPARENT"), "trace": ctx.run.trace,
            "headers": [n for n in os.environ if n.endswith("_HEADERS")]}
"""


@pytest.fixture(scope="module")
def sqs() -> Iterator[str]:
    with sqs_server() as url:
        yield url


@pytest.fixture
def here(tmp_path: Path, sqs: str) -> Iterator[World]:
    with world(tmp_path, sqs) as made:
        yield made


def test_the_spans_of_one_attempt(here: World) -> None:
    attempt = AttemptId(f"run-{here.numbers + 1}/job/0/1")
    trace, run = attempt_trace(attempt), step_span(attempt, "run")
    assert here.submit(CODE, traceparent=traceparent(trace, attempt_span(attempt), sampled=True)) == attempt
    with Receiver() as collector:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=k3y-of-collector",
        }
        here.start_worker(**settings, OTEL_BSP_SCHEDULE_DELAY="100")
        report = here.report(attempt)
        spans = {s.name: s for s in collector.wait(lambda found: "report" in {s.name for s in found})}
    assert report.outputs == {"seen": traceparent(trace, run, sampled=True), "trace": trace, "headers": []}
    assert set(spans) == {"fetch", "run", "inputs", "work", "commit", "report"}
    assert {s.trace for s in spans.values()} == {trace}
    assert {name: s.parent for name, s in spans.items()} == {
        **dict.fromkeys(("fetch", "run", "report"), attempt_span(attempt)),
        **dict.fromkeys(("inputs", "work", "commit"), run),
    }
    assert spans["fetch"].end <= spans["run"].start <= spans["work"].start <= spans["work"].end <= spans["run"].end
    assert "k3y-of-collector" not in here.worker_log()


def test_without_a_collector_and_from_an_old_dispatcher(here: World) -> None:
    attempt = AttemptId(here.submit(CODE))
    here.start_worker()
    assert here.report(attempt).outputs == {"seen": None, "trace": attempt_trace(attempt), "headers": []}


def test_every_line_of_the_log_is_one_object(here: World) -> None:
    attempt = here.submit("def main(ctx):\n    raise ValueError('no')\n")
    here.start_worker()
    assert here.report(attempt).outcome == "failed"
    lines = [json.loads(line) for line in here.worker_log().splitlines()]
    assert lines
    assert all({"time", "level", "event", "worker", "pool"} <= set(line) for line in lines)
    ended = next(line for line in lines if line["event"] == "attempt.ended")
    run, task, *_ = attempt.split("/")
    assert (ended["run"], ended["task"], ended["trace_id"]) == (run, task, attempt_trace(AttemptId(attempt)))
