"""Many rows as one parameter: `json_to_recordset(%(rows)s) AS t(name type, …)` reads what `recordset` writes.

A list a column costs the driver several times as much as one JSON text, and these statements carry a dozen columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

_encode = msgspec.json.Encoder().encode


def recordset(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as JSON: times in ISO 8601, what is None left to be NULL."""
    return _encode(list(rows)).decode()


def interval(span: timedelta) -> str:
    """Return a span as Postgres reads an interval."""
    return f"{span.total_seconds()} seconds"
