"""What a function that is a source writes to its log."""

from __future__ import annotations

import json
import logging
import sys

from crds.redaction import KNOWN
from workers.aws.lines import JsonLines

SECRET = "a-secret-of-the-webhook"


def test_a_record_is_one_object_without_secrets() -> None:
    KNOWN.add(SECRET)
    try:
        _refuse()
    except ValueError:
        record = logging.LogRecord("hook", logging.ERROR, __file__, 1, "put off: %s", (SECRET,), sys.exc_info())
    record.aws_request_id = "r-1"
    text = JsonLines().format(record)
    line = json.loads(text)
    assert SECRET not in text
    assert "abcdef" not in text
    assert (line["level"], line["event"], line["logger"], line["request_id"]) == (
        "error",
        "put off: ***",
        "hook",
        "r-1",
    )
    assert "ValueError" in line["exception"]
    assert list(line)[:3] == ["time", "level", "event"]


def _refuse() -> None:
    raise ValueError(f"refused {SECRET}\nBearer abcdef")
