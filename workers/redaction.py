"""Keeping secrets out of logs and errors."""

from __future__ import annotations

import json

MASK = "***"
# Shorter values would blank out ordinary text; such a secret protects nothing.
MIN_CHARS = 4
MAX_VALUES = 1_000


class Redaction:
    """The values that one attempt has resolved, and their removal from text."""

    def __init__(self) -> None:
        self._values: list[str] = []

    def add(self, value: str) -> None:
        """Hide a value: as a whole, by line, and the strings in it if it is JSON."""
        found = {value, *value.splitlines(), *_json_strings(value)}
        fresh = {part.strip() for part in found} - set(self._values)
        self._values += [part for part in fresh if len(part) >= MIN_CHARS]
        # The longest first, so that a value is not left half shown by one that is a part of it.
        self._values.sort(key=len, reverse=True)
        del self._values[MAX_VALUES:]

    def clean(self, text: str) -> str:
        """Return the text with every hidden value masked."""
        for value in self._values:
            text = text.replace(value, MASK)
        return text


def _json_strings(value: str) -> list[str]:
    if not value.lstrip().startswith(("{", "[")):
        return []
    try:
        return _strings(json.loads(value))
    except ValueError:
        return []


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for one in value.values() for text in _strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in _strings(one)]
    return []
