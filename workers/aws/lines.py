"""The log lines of the functions that are sources: JSON as every process writes it, by the standard library alone."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from crds.redaction import KNOWN

MAX_CHARS = 12_000


class JsonLines(logging.Formatter):
    """Write a record as one JSON object without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        # Lambda's own filter puts it on every record.
        if request := getattr(record, "aws_request_id", None):
            fields["request_id"] = str(request)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)[-MAX_CHARS:]
        return json.dumps({name: KNOWN.clean(text[:MAX_CHARS]) for name, text in fields.items()})


def configure() -> None:
    """Have whatever handlers the runtime has installed write such lines."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines())
