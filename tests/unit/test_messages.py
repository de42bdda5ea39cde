"""What people read, and that no text becomes a mark, a header or a secret that is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.notify import slack
from controller.notify.message import LINE_CHARS, Text, compose, first_line

RUN: dict[str, Any] = {
    "kind": "DagRun",
    "namespace": "default",
    "name": "flights-1",
    "dag": "flights",
    "at": "2026-03-02T09:03:20+01:00",
    "started": "2026-03-02T08:00:00+00:00",
    "reason": "DeadlineExceeded",
    "message": "it took longer than 3m",
    "failed": 0,
    "tasks": [],
}
TASKS = [{"task": "load", "index": n, "reason": "UserError", "message": "ValueError: x"} for n in range(2)]


def composed(occasion: str = "RunFailed", **facts: Any) -> Text:
    return compose("id", occasion, RUN | facts)


@pytest.mark.parametrize(
    ("occasion", "facts", "subject", "summary"),
    [
        pytest.param(
            "RunFailed",
            {},
            "flights failed",
            "Run flights-1 of DAG flights failed after 3 min 20 s, at 2026-03-02 08:03:20 UTC: it took longer than 3m.",
            id="no task failed",
        ),
        pytest.param(
            "RunFailed",
            {"tasks": TASKS, "failed": 9},
            "flights failed: load and 8 more",
            "Run flights-1 of DAG flights failed after 3 min 20 s, at 2026-03-02 08:03:20 UTC.",
            id="tasks failed",
        ),
        pytest.param(
            "RunRecovered",
            {},
            "flights recovered",
            "Run flights-1 of DAG flights succeeded after 3 min 20 s, at 2026-03-02 08:03:20 UTC; the run before it had failed.",
            id="recovered",
        ),
        pytest.param(
            "DatasetStale",
            {"kind": "Dataset", "name": "orders", "message": "no task has committed to it for 1h"},
            "dataset orders is stale",
            "Dataset orders is stale: no task has committed to it for 1h.",
            id="stale",
        ),
    ],
)
def test_what_it_says(occasion: str, facts: dict[str, Any], subject: str, summary: str) -> None:
    text = composed(occasion, **facts)
    assert (text.subject, text.summary) == (subject, summary)


def test_items_of_a_fan_out_and_what_is_left_out() -> None:
    assert [(f.task, f.why) for f in composed(tasks=TASKS, failed=9).failures] == [
        ("load", "UserError: ValueError: x"),
        ("load[1]", "UserError: ValueError: x"),
        ("…", "7 more tasks failed"),
    ]


def test_where_to_look() -> None:
    text = compose("id", "RunFailed", RUN | {"namespace": "billing"}, "https://pipelines.example.com/")
    assert text.command == "setpoint explain run/flights-1 -n billing"
    assert text.link == ("https://pipelines.example.com/apis/setpoint.dev/v1/namespaces/billing/dagruns/flights-1")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("\n\n  ValueError: x  \nmore", "ValueError: x", id="the first line that says something"),
        pytest.param("login failed: password=hunter2, user=u", "login failed: password=***, user=u", id="password"),
        pytest.param('{"api_key": "hunter2"}', '{"api_key": "***"}', id="in JSON"),
        pytest.param("Authorization: Bearer hunter2", "Authorization: Bearer ***", id="bearer token"),
        pytest.param("postgres://u:hunter2@db/x is down", "postgres://u:***@db/x is down", id="password of a URL"),
        pytest.param("no access for AKIAABCDEFGHIJKLMNOP", "no access for ***", id="key of AWS"),
        pytest.param("POST https://hooks.slack.com/services/T/B/x", "POST https://hooks.slack.com/***", id="webhook"),
        pytest.param("a\x1b[31mb\x00c", "a [31mb c", id="control characters"),
        pytest.param("x" * 1000, "x" * (LINE_CHARS - 1) + "…", id="long"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_the_first_line_of_an_error(text: str, line: str) -> None:
    assert first_line(text) == line


def test_no_error_becomes_a_mark_of_slack() -> None:
    evil = "<!channel> ``` *bold* <https://evil.example.com|click> &amp;"
    body = slack.body(composed(tasks=[{"task": "load", "index": 0, "reason": "UserError", "message": evil}], failed=1))
    block = body["blocks"][2]["text"]["text"]
    assert block.startswith("```")
    assert block.endswith("```")
    assert "`" not in block[3:-3]
    assert "<" not in block
    assert "&amp;amp;" in block


def test_a_long_message_fits_slack() -> None:
    tasks = [{"task": f"t{n}", "index": 0, "reason": "UserError", "message": "<&>" * 500} for n in range(20)]
    body = slack.body(composed(tasks=tasks, failed=20, dag="d" * 500))
    assert len(body["blocks"][0]["text"]["text"]) <= 150
    for block in body["blocks"][1:]:
        assert len(block["text"]["text"]) <= 3000


def test_the_message_in_the_documents() -> None:
    document = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text(encoding="utf-8")
    task = {"task": "load", "index": 0, "reason": "UserError", "message": "ValueError: a <bad> row & more"}
    facts = RUN | {"name": "flights-0192", "tasks": [task], "failed": 1}
    text = compose("id", "RunFailed", facts, "https://pipelines.example.com")
    assert f"```text\n{text.plain}```" in document
    assert f"The subject is `{text.subject}`" in document
