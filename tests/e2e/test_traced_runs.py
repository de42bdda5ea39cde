"""A run of the whole local system is one trace, whoever told of its parts, and a killed worker does not break it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from e2e_system import Up, eventually

from crds.names import AttemptId, RunUid
from crds.traces import attempt_span, run_span, step_span, task_span, trace_id
from tests.otlp_receiver import Received, Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e_system import Object

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]
CALLER = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
STEPS = ("fetch", "run", "inputs", "work", "commit", "report")


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced(collector: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    up = Up(tmp_path_factory.mktemp("traced"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        try:
            yield up.start().applied("gated", "chain")
            assert up.stop() == 0
            assert up.leftovers() == []
        finally:
            up.clear()


def _run(system: Up, name: str) -> tuple[RunUid, Object]:
    run = system.run(name)
    return RunUid(run["metadata"]["uid"]), run


def _complete(spans: list[Received], attempts: int) -> bool:
    names = [span.name for span in spans]
    return any(n.startswith("run ") for n in names) and names.count("report") >= attempts


def test_a_run_is_one_tree(traced: Up, collector: Receiver) -> None:
    gate = traced.gate("tree")
    gate.open()
    body = {"params": {"gate": str(gate.folder)}}
    parent = f"00-{CALLER[0]}-{CALLER[1]}-01"
    target = traced.client.target
    url = f"{target.url}/apis/setpoint.dev/v1/namespaces/default/dags/chain/trigger"
    headers = {"traceparent": parent, "authorization": f"Bearer {target.token}"}
    name = str(httpx.post(url, json=body, headers=headers).raise_for_status().json()["metadata"]["name"])
    assert traced.ended(name) == "Succeeded"
    uid, _ = _run(traced, name)
    spans = {s.id: s for s in collector.wait(lambda found: _complete(found, 3), trace_id(uid))}

    root = spans[run_span(uid)]
    assert (root.parent, root.status, root.links) == ("", "ok", [CALLER])
    assert root.attributes["setpoint.dag"] == "chain"
    for task in ("first", "second", "third"):
        attempt = AttemptId(f"{uid}/{task}/0/1")
        above, here = spans[task_span(uid, task, 0)], spans[attempt_span(attempt)]
        assert (above.parent, here.parent) == (root.id, above.id)
        assert (above.status, here.status, here.service) == ("ok", "ok", "setpoint-dispatcher")
        assert root.start <= above.start <= here.start <= here.end <= above.end <= root.end
        steps = {step: spans[step_span(attempt, step)] for step in STEPS}
        assert {steps[s].parent for s in ("fetch", "run", "report")} == {here.id}
        assert {steps[s].parent for s in ("inputs", "work", "commit")} == {steps["run"].id}
        assert {s.service for s in steps.values()} == {"setpoint-worker"}
    sent = spans[step_span(AttemptId(f"{uid}/first/0/1"), "send")]
    assert sent.attributes["messaging.system"] == "aws_sqs"
    row = traced.rows("SELECT created_at, ended_at FROM setpoint.run WHERE uid = %s", uid)[0]
    times = [int(row[name].timestamp()) * 10**9 + row[name].microsecond * 1000 for name in ("created_at", "ended_at")]
    assert [root.start, root.end] == times


def test_a_killed_worker_leaves_two_attempts(traced: Up, collector: Receiver) -> None:
    gate = traced.gate("killed")
    name = traced.trigger("gated", gate=gate.folder)
    worker = gate.begun("work").parent()
    assert worker is not None
    worker.kill()
    gate.begun("work", 2)
    gate.open()
    assert traced.ended(name) == "Succeeded"
    uid, _ = _run(traced, name)
    spans = {s.id: s for s in collector.wait(lambda found: _complete(found, 1), trace_id(uid))}
    first, second = (spans[attempt_span(AttemptId(f"{uid}/work/0/{n}"))] for n in (1, 2))
    assert (first.status, second.status) == ("error", "ok")
    assert first.parent == second.parent == task_span(uid, "work", 0)
    assert first.attributes["setpoint.reason"] in {"WorkerStopped", "LeaseExpired"}
    assert first.end <= second.start


def test_a_collector_that_is_gone_costs_nothing(traced: Up, collector: Receiver) -> None:
    collector.__exit__()
    gate = traced.gate("gone")
    gate.open()
    runs = [traced.trigger("chain", gate=gate.folder) for _ in range(3)]
    assert {traced.ended(run) for run in runs} == {"Succeeded"}
    eventually("the API answers", lambda: traced.run(runs[0]))
