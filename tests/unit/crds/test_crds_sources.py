"""What a lambda task, a lambda pool and a webhook may say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from crds.check import check
from crds.dag import LAMBDA_TIMEOUT, Dag
from crds.parse import parse
from crds.pool import WorkerPool

POOL: dict[str, Any] = {"kind": "WorkerPool", "metadata": {"name": "lambda"}, "spec": {"runtime": "lambda"}}


def dag(spec: dict[str, Any] | None = None, **task: Any) -> dict[str, Any]:
    made = {"name": "a", "runtime": "lambda", "with": {"entrypoint": "main:run"}, **task}
    return {"kind": "Dag", "metadata": {"name": "d"}, "spec": {"tasks": [made], **(spec or {})}}


def problems(*documents: dict[str, Any]) -> list[str]:
    parsed = [parse(document) for document in documents]
    found = [f"{f.field}: {f.message}" for p in parsed for f in p.findings]
    resources = [p.resource for p in parsed if p.resource is not None]
    return found or [f"{finding.field}: {finding.message}" for _, finding in check(resources)]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        pytest.param(dag(), None, id="plain"),
        pytest.param(dag(timeout="14m"), None, id="14 minutes"),
        pytest.param(dag(timeout="14m1s"), "runs at most 14m", id="longer"),
        pytest.param(dag(secrets={"x": "tasks/x"}), "reaches no secrets", id="secrets"),
        pytest.param(dag(inputs={"x": {"dataset": "y"}}), "reaches no datasets", id="reads a dataset"),
        pytest.param(dag(outputs={"x": {"dataset": "y", "mode": "append"}}), "reaches no datasets", id="writes one"),
        pytest.param(dag(pool="python"), 'unknown pool "python"', id="another pool"),
        pytest.param(dag({"triggers": [{"webhook": {"path": "shop/orders"}}]}), None, id="webhook"),
        pytest.param(dag({"triggers": [{"webhook": {"path": "/shop"}}]}), "webhook.path", id="a path from the root"),
        pytest.param(dag({"triggers": [{"webhook": {"path": "shop/../x"}}]}), "webhook.path", id="a way up"),
        pytest.param(dag({"triggers": [{"webhook": {"path": "Shop"}}]}), "webhook.path", id="a prefix is a name"),
        pytest.param(
            dag({"triggers": [{"webhook": {"path": "a", "param": "body"}}]}),
            'unknown parameter "body"',
            id="no such param",
        ),
        pytest.param(
            dag({"triggers": [{"webhook": {"path": "a"}}, {"name": "b", "webhook": {"path": "a"}}]}),
            'another trigger listens to "a"',
            id="one path twice",
        ),
        pytest.param(
            dag({"triggers": [{"webhook": {"path": "a"}}, {"webhook": {"path": "b"}}]}),
            'there is another trigger "default"',
            id="one name twice",
        ),
    ],
)
def test_dag(document: dict[str, Any], says: str | None) -> None:
    found = problems(POOL, document)
    assert not found if says is None else any(says in problem for problem in found), found


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param({"runtime": "lambda", "slots": 1, "maxTasks": 50}, None, id="concurrency"),
        pytest.param({"runtime": "lambda", "function": "mine"}, None, id="a function of one's own"),
        pytest.param({"runtime": "lambda", "minTasks": 1}, "has no queue, no image and no minTasks", id="minTasks"),
        pytest.param({"runtime": "lambda", "queue": "x.fifo"}, "has no queue", id="queue"),
        pytest.param(
            {"runtime": "python", "function": "mine"}, "only a pool of runtime lambda", id="a worker's function"
        ),
        pytest.param({"runtime": "python", "spotPercent": 70}, None, id="spot"),
        pytest.param({"runtime": "python", "spotPercent": 101}, "spotPercent", id="too much spot"),
    ],
)
def test_pool(spec: dict[str, Any], says: str | None) -> None:
    found = problems({**POOL, "spec": spec})
    assert not found if says is None else any(says in problem for problem in found), found


def test_lambda_pools_share_no_queue() -> None:
    """Without a queue of their own, two of them are no conflict."""
    second = {**POOL, "metadata": {"name": "second"}}
    assert problems(POOL, second) == []


@pytest.mark.parametrize(
    ("timeout", "defaults", "expected"),
    [
        pytest.param(None, "1h", LAMBDA_TIMEOUT, id="the default is too long"),
        pytest.param(None, "5m", timedelta(minutes=5), id="the default fits"),
        pytest.param("2m", "5m", timedelta(minutes=2), id="its own"),
    ],
)
def test_timeout(timeout: str | None, defaults: str, expected: timedelta) -> None:
    document = dag({"defaults": {"timeout": defaults}}, **({"timeout": timeout} if timeout else {}))
    found = parse(document).resource
    assert isinstance(found, Dag)
    assert found.spec.tasks[0].attempt_timeout(found.spec.defaults) == expected


def test_a_lambda_pools_limit_is_its_concurrency() -> None:
    found = parse({**POOL, "spec": {"runtime": "lambda", "slots": 1, "maxTasks": 50}}).resource
    assert isinstance(found, WorkerPool)
    assert found.spec.limit == 50
