"""Which JSON values can be stored: what Postgres, every reader of JSON and a person can hold."""

from __future__ import annotations

import math
from typing import cast

from crds.finding import FieldPath, Finding, shown

MAX_DEPTH = 64
MAX_INTEGER = 2**63


def unstorable(value: object, path: FieldPath = (), depth: int = 0) -> Finding | None:
    """Return the first thing in a value that cannot be stored, with its path; None if all of it can be."""
    if depth > MAX_DEPTH:
        return Finding(path, f"nested more than {MAX_DEPTH} deep")
    match value:
        case str():
            return _text(value, path)
        case dict():
            return _mapping(cast("dict[object, object]", value), path, depth)
        case list():
            for index, item in enumerate(cast("list[object]", value)):
                if found := unstorable(item, (*path, index), depth + 1):
                    return found
            return None
        case bool() | None:
            return None
        case int():
            fits = -MAX_INTEGER <= value < MAX_INTEGER
            return None if fits else Finding(path, "an integer has at most 64 bits; quote it to make it text")
        case float():
            finite = math.isfinite(value)
            return None if finite else Finding(path, "a number must be finite; quote it to make it text")
        case _:
            return Finding(path, f"{type(value).__name__} is no JSON value")


def _mapping(value: dict[object, object], path: FieldPath, depth: int) -> Finding | None:
    for key, item in value.items():
        if not isinstance(key, str):
            return Finding(path, f"a key must be text, not {shown(key)}")
        found = _text(key, path) or unstorable(item, (*path, key), depth + 1)
        if found:
            return found
    return None


def _text(text: str, path: FieldPath) -> Finding | None:
    try:
        # Half a surrogate pair has no encoding, and encoding is the quickest way to find one.
        unfit = "\0" in text or not (text.isascii() or text.encode())
    except UnicodeEncodeError:
        unfit = True
    return Finding(path, "text may hold neither NUL nor half a surrogate pair") if unfit else None
