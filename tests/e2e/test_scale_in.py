"""Scale-in chooses by itself which tasks it stops: a busy worker must not be among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from e2e_system import Up, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-own")]
WORKERS = 10
POOLS = """\
kind: WorkerPool
metadata: {{name: python}}
spec: {{runtime: python, slots: 1, minTasks: {least}, maxTasks: 10}}
---
kind: WorkerPool
metadata: {{name: polars}}
spec: {{runtime: polars}}
---
kind: WorkerPool
metadata: {{name: vault}}
spec: {{runtime: python, grants: {{secrets: [lab/password]}}}}
---
kind: WorkerPool
metadata: {{name: pair}}
spec: {{runtime: python}}
"""


def ecs(system: Up) -> Any:
    """Return a client of the system's ECS, as Application Auto Scaling has one."""
    endpoint = system.program("dispatcher").environ()["AWS_ENDPOINT_URL_ECS"]
    return boto3.client(
        "ecs", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


@pytest.mark.slow
@pytest.mark.pain("T22")
def test_one_busy_worker_among_nine_idle_ones_is_spared(new_system: Callable[[], Up]) -> None:
    system = new_system()
    (system.dags / "pools.yaml").write_text(POOLS.format(least=WORKERS))
    system.start().applied("gated")
    eventually("all workers run", lambda: len(system.workers("python")) == WORKERS)
    gate = system.gate("busy")
    run = system.trigger("gated", gate=gate.folder)
    busy = gate.begun("work").parent()
    assert busy is not None

    # The pool wants no more than one; then the service is told so, which picks whom it likes.
    (system.dags / "pools.yaml").write_text(POOLS.format(least=1))
    eventually(
        "the pool wants less",
        lambda: any(
            p["metadata"]["name"] == "python" and p["spec"]["minTasks"] == 1 for p in system.objects("workerpools")
        ),
    )
    ecs(system).update_service(cluster="setpoint", service="python", desiredCount=1)
    eventually("the idle ones are gone", lambda: [p.pid for p in system.workers("python")] == [busy.pid])
    gate.open()
    assert system.ended(run) == "Succeeded"
    assert system.attempts(run, "work") == [("Succeeded", "Succeeded")]
    assert system.stop() == 0
