"""The operator host against a dispatcher that follows the worker protocol: claim, run, stop, report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.lambda_handlers.lambda_functions import Functions, functions
from tests.integration.worker_world import TOKEN, World, eventually, sqs_server, world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("awslambdaric")


@pytest.fixture(scope="module")
def sqs_url() -> Iterator[str]:
    with sqs_server() as url:
        yield url


@pytest.fixture
def here(tmp_path: Path, sqs_url: str) -> Iterator[World]:
    with world(tmp_path, sqs_url) as made:
        yield made


@pytest.fixture
def host(here: World) -> Iterator[Functions]:
    environment = {
        "SETPOINT_URL": here.url,
        "SETPOINT_POOL": "lambda",
        "SETPOINT_POOL_TOKEN": TOKEN,
        "SETPOINT_OBJECT_STORE": f"file://{here.folder / 'objects'}",
        "SETPOINT_CACHE_DIR": str(here.folder / "cache"),
    }
    handler = "workers.aws.operator.handler"
    with functions(
        here.folder,
        {"name": "operator", "handler": handler, "env": environment},
        # Of its 14 seconds, ten are kept for the end.
        {"name": "short", "handler": handler, "env": environment, "timeout": 14},
        {"name": "unset", "handler": handler, "env": {**environment, "SETPOINT_SLOT": "2"}},
    ) as made:
        yield made


def grant(here: World, code: str, **more: Any) -> str:
    return here.grant(code, task={"runtime": "lambda"}, **more)


def payload(attempt: str, **more: Any) -> dict[str, Any]:
    return {"attempt": attempt, "delivery": 1, "pool": "lambda", "namespace": "default", **more}


def test_an_attempt_is_claimed_run_and_reported(here: World, host: Functions) -> None:
    code = "def main(ctx):\n    print('hello', ctx.params['n'])\n    return {'answer': ctx.params['n'] + 1}"
    attempt = grant(here, code, params={"n": 41})

    assert host.invoke("operator", payload(attempt)) == {"attempt": attempt, "outcome": "succeeded"}

    report = here.report(attempt)
    assert (report.outcome, report.outputs) == ("succeeded", {"answer": 42})
    assert "stdout hello 41" in here.log(attempt)
    (claim,) = here.dispatcher.claims
    assert (claim.pool, claim.namespace, claim.ecs_task) == ("lambda", "default", None)
    # It takes leave, so that nobody waits for a lease to end.
    assert here.dispatcher.heartbeats[-1].leaving
    assert here.dispatcher.heartbeats[-1].worker == claim.worker


def test_each_invocation_is_a_worker_of_its_own_in_a_warm_process(here: World, host: Functions) -> None:
    code = "import os\ndef main(ctx): return {'pid': os.getpid()}"
    digest = here.bundle(code)
    attempts = [grant(here, code, digest=digest) for _ in range(2)]
    for attempt in attempts:
        host.invoke("operator", payload(attempt))

    assert len({here.report(attempt).outputs["pid"] for attempt in attempts}) == 1
    assert len({claim.worker for claim in here.dispatcher.claims}) == 2


def test_user_code_fails_with_its_own_words(here: World, host: Functions) -> None:
    attempt = grant(here, "def main(ctx): raise ValueError('no such carrier')")

    assert host.invoke("operator", payload(attempt))["outcome"] == "failed"

    error = here.report(attempt).error
    assert error is not None
    assert (error.reason, error.kind, error.message) == ("UserError", "ValueError", "no such carrier")


def test_user_code_knows_nothing_of_the_runtime(here: World, host: Functions) -> None:
    attempt = grant(here, "import os\ndef main(ctx): return {'names': sorted(os.environ)}")
    host.invoke("operator", payload(attempt))

    names = here.report(attempt).outputs["names"]
    assert "AWS_LAMBDA_RUNTIME_API" not in names
    assert not [name for name in names if name.startswith("SETPOINT_")]


def test_what_is_not_granted_is_left_alone(here: World, host: Functions) -> None:
    attempt = grant(here, "def main(ctx): return {}")
    host.invoke("operator", payload(attempt))

    assert host.invoke("operator", payload(attempt))["outcome"] == "unclaimed"
    assert host.invoke("operator", payload("run-x/unknown/0/1"))["outcome"] == "unclaimed"
    assert sum(len(request.reports) for request in here.dispatcher.report_requests) == 1


@pytest.mark.parametrize(
    ("verdict", "outcome", "reported"),
    [
        pytest.param("cancel", "cancelled", "cancelled", id="cancelled"),
        pytest.param("stale", "superseded", None, id="superseded"),
    ],
)
def test_a_heartbeat_stops_it(here: World, host: Functions, verdict: str, outcome: str, reported: str | None) -> None:
    attempt = grant(here, "import time\ndef main(ctx): time.sleep(600)")
    here.dispatcher.verdicts[attempt] = verdict

    assert host.invoke("operator", payload(attempt))["outcome"] == outcome
    report = here.dispatcher.reports.get(attempt)
    assert (report.outcome if report else None) == reported


def test_it_stops_and_reports_before_lambda_ends_it(here: World, host: Functions) -> None:
    attempt = grant(here, "import time\ndef main(ctx): time.sleep(600)", timeout=800)

    assert host.invoke("short", payload(attempt))["outcome"] == "timedOut"
    assert here.report(attempt).outcome == "timedOut"


@pytest.mark.parametrize("path", ["/v1/claims", "/v1/reports"])
def test_a_lost_answer_is_asked_for_again(here: World, host: Functions, path: str) -> None:
    here.dispatcher.lost_answers[path] = 2
    attempt = grant(here, "def main(ctx): return {}")

    assert host.invoke("operator", payload(attempt))["outcome"] == "succeeded"
    assert here.report(attempt).outcome == "succeeded"
    assert len({claim.request for claim in here.dispatcher.claims}) == 1


@pytest.mark.parametrize(
    ("function", "event", "says"),
    [
        pytest.param("operator", payload("r/a/0/1", pool="other"), "spec.function", id="another pool"),
        pytest.param("operator", {"hello": "world"}, "attempt", id="no invocation"),
        pytest.param("unset", payload("r/a/0/1"), "did you mean SETPOINT_SLOTS", id="unknown setting"),
    ],
)
def test_what_is_set_up_wrongly_fails_and_says_why(
    here: World, host: Functions, function: str, event: Any, says: str
) -> None:
    answer, failed = host.call(function, event)
    assert failed
    assert says in answer["errorMessage"]
    eventually(lambda: not here.dispatcher.claims, "no claim")
