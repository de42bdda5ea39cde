"""What a record of Lambda's on-failure destination means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.aws.functions import TEXT_LIMIT, decode
from crds.names import AttemptId
from crds.protocol import Invocation
from crds.reasons import Reason

PAYLOAD = {"attempt": "run/task/0/1", "delivery": 2, "pool": "lambda", "namespace": "default"}
OURS = Invocation(attempt=AttemptId("run/task/0/1"), delivery=2, pool="lambda")


def record(condition: str = "RetriesExhausted", payload: Any = PAYLOAD, **response: Any) -> str:
    return json.dumps(
        {
            "version": "1.0",
            "requestContext": {"condition": condition},
            "requestPayload": payload,
            "responsePayload": response,
        }
    )


@pytest.mark.parametrize(
    ("body", "reason", "text"),
    [
        pytest.param(record("EventAgeExceeded"), Reason.THROTTLED, "raise the function's concurrency", id="too old"),
        pytest.param(
            record(errorType="Sandbox.Timedout", errorMessage="RequestId: 1 Error: Task timed out after 3.00 seconds"),
            Reason.TIMED_OUT,
            "Task timed out",
            id="timeout",
        ),
        pytest.param(
            record(errorMessage="2026-11-22T00:00:00Z 1 Task timed out after 3.00 seconds"),
            Reason.TIMED_OUT,
            "Task timed out",
            id="timeout as Lambda once said it",
        ),
        pytest.param(
            record(errorType="Runtime.OutOfMemory", errorMessage="signal: killed"),
            Reason.OUT_OF_MEMORY,
            "raise the function's memory",
            id="memory",
        ),
        pytest.param(
            record(errorType="Runtime.ExitError", errorMessage="Runtime exited with error: signal: killed"),
            Reason.OUT_OF_MEMORY,
            "signal: killed",
            id="killed",
        ),
        pytest.param(
            record(errorType="Runtime.ExitError", errorMessage="exit status 1"),
            Reason.FUNCTION_FAILED,
            "Runtime.ExitError: exit status 1",
            id="crash",
        ),
        pytest.param(record(), Reason.FUNCTION_FAILED, "RetriesExhausted", id="no word"),
    ],
)
def test_reason(body: str, reason: Reason, text: str) -> None:
    failure = decode("h", body)
    assert (failure.handle, failure.invocation, failure.reason) == ("h", OURS, reason)
    assert text in failure.message


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("", id="nothing"),
        pytest.param("[" * 9_000, id="nested"),
        pytest.param("[]", id="a list"),
        pytest.param('{"requestContext": 5, "responsePayload": []}', id="no objects"),
        pytest.param(record(payload={**PAYLOAD, "attempt": "no id"}), id="no attempt"),
        pytest.param(record(payload={**PAYLOAD, "delivery": 2**40}), id="no delivery"),
        pytest.param(record(payload={"attempt": "run/task/0/1"}), id="half a payload"),
        pytest.param(record(payload="x"), id="a text"),
    ],
)
def test_strangers(body: str) -> None:
    assert decode("h", body).invocation is None


def test_a_long_word_is_cut() -> None:
    assert len(decode("h", record(errorMessage="x" * 10**5)).message) == TEXT_LIMIT
