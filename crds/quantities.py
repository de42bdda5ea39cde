"""Durations and sizes as people write them in YAML (`1h30m`, `512Mi`)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from crds.finding import shown

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII)
_DURATION_PATTERN = r"^(\d{1,6}d)?(\d{1,6}h)?(\d{1,6}m)?(\d{1,6}s)?$"
_BYTES = re.compile(r"(\d{1,9})(Ki|Mi|Gi)?", re.ASCII)
_BYTES_PATTERN = r"^\d{1,9}(Ki|Mi|Gi)?$"
_MULTIPLES = {None: 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
MAX_DURATION = timedelta(days=365)


def parse_duration(value: Any) -> timedelta:
    """Return the span that `90s`, `1h30m` or a number of seconds names; raise ValueError otherwise."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("a duration is written like 30s, 5m or 1h30m")  # noqa: TRY004 - pydantic collects ValueErrors
    if isinstance(value, int):
        span = timedelta(seconds=min(value, 10**9))
    else:
        match = _DURATION.fullmatch(value.strip())
        if not match or not value.strip():
            raise ValueError(f"{shown(value)} is no duration; write it like 30s, 5m or 1h30m")
        span = timedelta(
            seconds=sum(int(n) * unit for n, unit in zip(match.groups(default="0"), _UNITS.values(), strict=True))
        )
    if not timedelta(0) <= span <= MAX_DURATION:
        raise ValueError(f"{shown(value)} is outside 0s to {MAX_DURATION.days}d")
    return span


def format_duration(span: timedelta) -> str:
    """Return the shortest text that parse_duration reads as the same whole seconds."""
    rest = int(span.total_seconds())
    parts: list[str] = []
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_bytes(value: Any) -> int:
    """Return the bytes that `512Mi` or a whole number names; raise ValueError otherwise."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**50:
        return value
    match = _BYTES.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{shown(value)} is no size; write it like 512Mi or 2Gi")
    return int(match[1]) * _MULTIPLES[match[2]]


def format_bytes(size: int) -> str:
    """Return the size with the largest binary unit that divides it."""
    for unit in ("Gi", "Mi", "Ki"):
        if size and size % _MULTIPLES[unit] == 0:
            return f"{size // _MULTIPLES[unit]}{unit}"
    return str(size)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": _DURATION_PATTERN}, {"type": "integer", "minimum": 0}],
            "x-kubernetes-int-or-string": True,
            "description": "A span such as 30s, 5m or 1h30m, or whole seconds.",
        }
    ),
]

Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    PlainSerializer(format_bytes, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": _BYTES_PATTERN}, {"type": "integer", "minimum": 0}],
            "x-kubernetes-int-or-string": True,
            "description": "A size such as 512Mi or 2Gi, or whole bytes.",
        }
    ),
]
