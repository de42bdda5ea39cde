"""What ends is told of once, from its row, whoever ended it; what is not committed is never told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from controller.informers.tracing import LOOKS, Tracing
from controller.runtime.traces import ENDINGS, context_of
from crds.names import AttemptId, RunUid
from crds.spans import Export
from crds.traces import attempt_span, parse_traceparent, run_span, task_span, trace_id
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg_pool import ConnectionPool

    from crds.spans import Span
    from tests.conftest import Database


class Traced:
    """A world whose endings are told, and the spans that came of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.told: list[Span] = []
        self.export = Export(lambda _: True, self.told.extend, lambda: None, lambda: None)
        self.tracing = Tracing(cast("ConnectionPool", world.database), ENDINGS, self.export)

    def spans(self) -> dict[str, Span]:
        self.tracing.tell()
        found = {span.id: span for span in self.told}
        assert len(found) == len(self.told)
        return found


@pytest.fixture
def traced(database: Database) -> Iterator[Traced]:
    world = World(database)
    world.apply(pool("python"))
    try:
        yield Traced(world)
    finally:
        ENDINGS.on = False
        ENDINGS.attempts.clear()
        ENDINGS.runs.clear()
        world.close()


def test_retries_are_siblings(traced: Traced) -> None:
    world = traced.world
    world.apply(dag("d", task("a", retries={"limit": 1, "backoff": {"initial": "1s", "max": "1s"}}), task("b", ["a"])))
    run = RunUid(world.trigger("d"))
    world.settle()
    world.report(world.claim()[0], "failed")
    world.advance(10)
    assert world.work() == ["a", "b"]
    spans = traced.spans()
    root = spans[run_span(run)]
    assert (root.trace, root.parent, root.ok, root.links) == (trace_id(run), None, True, ())
    above = spans[task_span(run, "a", 0)]
    first, second = (spans[attempt_span(AttemptId(f"{run}/a/0/{n}"))] for n in (1, 2))
    assert (above.parent, above.ok, above.attributes["setpoint.attempts"]) == (root.id, True, 2)
    assert first.parent == second.parent == above.id
    assert (first.error, second.error, second.ok) == ("UserError: it failed", None, True)
    assert (root.start, root.end) == world.rows("SELECT created_at, ended_at FROM run WHERE uid = %s", run)[0]
    assert {span.trace for span in spans.values()} == {trace_id(run)}


def test_tasks_without_an_attempt_are_told_of_with_their_run(traced: Traced) -> None:
    world = traced.world
    world.apply(dag("d", task("a"), task("b", ["a"]), defaults={"retries": {"limit": 0}}))
    run = RunUid(world.trigger("d"))
    world.work({"a": "failed"})
    spans = traced.spans()
    assert spans[run_span(run)].error is not None
    assert spans[task_span(run, "b", 0)].error is not None
    assert spans[task_span(run, "b", 0)].attributes["setpoint.attempts"] == 0


def test_a_cancelled_run_is_no_error(traced: Traced) -> None:
    world = traced.world
    world.apply(dag("d", task("a"), task("b", ["a"])))
    run = RunUid(world.trigger("d"))
    world.settle()
    world.cancel(run)
    world.settle()
    root = traced.spans()[run_span(run)]
    assert (root.ok, root.error, root.attributes["cicd.pipeline.result"]) == (False, None, "cancellation")


def test_what_is_not_committed_is_looked_at_a_few_times(traced: Traced) -> None:
    ENDINGS.of_attempts([AttemptId("never/a/0/1")])
    for _ in range(LOOKS):
        assert ENDINGS.attempts
        traced.tracing.tell()
    assert not ENDINGS.attempts
    assert traced.spans() == {}


def test_nothing_is_kept_without_a_collector(database: Database) -> None:
    world = World(database)
    world.apply(pool("python"), dag("d", task("a")))
    world.trigger("d")
    world.work()
    world.close()
    assert not ENDINGS.attempts
    assert not ENDINGS.runs


@pytest.mark.parametrize("sampled", [pytest.param(True, id="kept"), pytest.param(False, id="not kept")])
def test_the_context_travels(sampled: bool) -> None:
    attempt = AttemptId("run1/a/0/1")
    found = parse_traceparent(context_of(lambda _: sampled)(attempt))
    assert found == (trace_id(RunUid("run1")), attempt_span(attempt), sampled)
