"""How exceptions of user code are described, and which values can be kept."""

from __future__ import annotations

from typing import Any

import pytest

from crds.protocol import MAX_ERROR_BYTES, MAX_OUTPUTS_BYTES
from crds.reasons import Reason
from workers.execution import _plain
from workers.failures import describe
from workers.task import TaskFailed


def raised(error: BaseException) -> BaseException:
    def inner() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        inner()
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        pytest.param(KeyError("x"), "KeyError", "UserError", id="exception"),
        pytest.param(SystemExit(3), "ExitCode", "UserError", id="exit"),
        pytest.param(MemoryError(), "OutOfMemory", "OutOfMemory", id="memory"),
        pytest.param(TaskFailed("HttpStatus404", "gone"), "HttpStatus404", "UserError", id="a class of our own"),
        pytest.param(TaskFailed("X", "y", "InfrastructureError"), "X", "InfrastructureError", id="our fault"),
    ],
)
def test_class(error: BaseException, kind: str, reason: str) -> None:
    described = describe(raised(error), None)

    assert (described.kind, described.reason) == (kind, reason)


def test_sizes_are_bounded_and_the_end_of_a_traceback_is_kept() -> None:
    error = describe(raised(ValueError("ü" * MAX_ERROR_BYTES + "end")), None)

    assert len((error.message + error.traceback).encode()) <= MAX_ERROR_BYTES
    assert error.message.startswith("üü")
    assert error.traceback.endswith("end\n")


def test_endless_chain_ends() -> None:
    error: BaseException = ValueError(0)
    for number in range(200):
        following = ValueError(number)
        following.__cause__ = error
        error = raised(following)

    assert "199" in describe(error, None).traceback


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"a": [1, 2.5, None, True, "ü"]}, id="plain"),
        pytest.param({"path": "C:\\u0000"}, id="a backslash is no NUL"),
    ],
)
def test_kept(value: Any) -> None:
    assert _plain("Output", value) == value


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        pytest.param({"a": object()}, "OutputNotJson", id="object"),
        pytest.param({"a": "x\0"}, "OutputNotJson", id="NUL"),
        pytest.param({"a": "\\\0"}, "OutputNotJson", id="NUL behind a backslash"),
        pytest.param({"a\0": 1}, "OutputNotJson", id="NUL in a name"),
        pytest.param({"a": "x" * MAX_OUTPUTS_BYTES}, "OutputTooLarge", id="too large"),
    ],
)
def test_refused(value: Any, kind: str) -> None:
    with pytest.raises(TaskFailed) as caught:
        _plain("Output", value)

    assert caught.value.kind == kind


def test_a_read_of_archived_data_says_how_to_restore_it() -> None:
    """The text is what Polars says of S3's answer."""
    said = (
        "object-store error: … 403 Forbidden: <Error><Code>InvalidObjectState</Code><Message>The operation is not valid "
        "for the object's storage class</Message></Error> (path: s3://data/cold/default/flights/a.parquet)"
    )
    error = describe(raised(PermissionError(said)), None)
    assert (error.reason, error.kind) == (Reason.ARCHIVED, "Archived")
    assert "--bucket data --key 'cold/default/flights/a.parquet'" in error.message
    assert "setpoint retry" in error.message
