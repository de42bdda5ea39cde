"""Each line of the log is one JSON object, ours and those of libraries, named and without secrets."""

from __future__ import annotations

import io
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from crds import loglines
from crds.names import RunUid
from crds.redaction import KNOWN
from crds.traces import trace_id

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "a-very-distinctive-secret"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    loglines.configure("info", {"pool": "python"}, {"OTEL_EXPORTER_OTLP_HEADERS": f"x-key={SECRET}"}, stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.configure(**before)
    KNOWN.__init__(least=12)  # type: ignore[misc]


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_ours_and_those_of_libraries_look_alike(out: io.StringIO) -> None:
    structlog.get_logger().info("one", n=1)
    logging.getLogger("boto3").warning("two %s", 2)
    logging.getLogger("httpx").info("silent")
    ours, theirs = lines(out)
    assert list(ours)[:3] == list(theirs)[:3] == ["time", "level", "event"]
    assert (ours["event"], ours["n"], ours["pool"]) == ("one", 1, "python")
    assert (theirs["event"], theirs["level"], theirs["logger"], theirs["pool"]) == (
        "two 2",
        "warning",
        "boto3",
        "python",
    )


def test_an_attempt_names_its_run_and_trace(out: io.StringIO) -> None:
    structlog.get_logger().info("x", attempt="run1/load/0/2")
    structlog.get_logger().info("x", attempt="garbage")
    first, second = lines(out)
    assert (first["run"], first["task"], first["trace_id"]) == ("run1", "load", trace_id(RunUid("run1")))
    assert "trace_id" not in second


def test_exceptions_are_a_field_of_bounded_length(out: io.StringIO) -> None:
    def fail() -> None:
        raise ValueError("y" * 50_000 + f" {SECRET} the end")

    for say in (structlog.get_logger().exception, logging.getLogger("library").exception):
        try:
            fail()
        except ValueError:
            say("it failed")
    assert len(lines(out)) == 2
    for line in lines(out):
        assert line["exception"].endswith("the end")
        assert len(line["exception"]) <= loglines.MAX_EXCEPTION_CHARS
        assert SECRET not in json.dumps(line)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"error": f"refused: {SECRET}"}, id="a known value"),
        pytest.param({"nested": {"deep": [SECRET]}}, id="nested"),
        pytest.param({"token": "x-" + SECRET[:3]}, id="a field named so"),
        pytest.param({"url": "https://me:pw1@host"}, id="userinfo"),
    ],
)
def test_no_secret_is_written(out: io.StringIO, fields: dict[str, Any]) -> None:
    structlog.get_logger().warning("x", **fields)
    text = out.getvalue()
    assert "***" in text
    assert SECRET not in text
    assert "pw1" not in text


def test_a_line_stays_a_line(out: io.StringIO) -> None:
    structlog.get_logger().info("a\nb", odd="\ud800", raw=b"\xff", thing=object())
    threading.Thread(target=lambda: structlog.get_logger().info("elsewhere"), name="other").start()
    assert [line["event"] for line in lines(out)] == ["a\nb", "elsewhere"]
    assert lines(out)[1]["thread"] == "other"
