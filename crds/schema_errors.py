"""Pydantic's errors as findings that say what is allowed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from crds.dag import MODULE_FUNCTION, RELATIVE_FILE
from crds.fields import known_fields
from crds.finding import FieldPath, Finding, nearest, shown
from crds.meta import NAME_PATTERN
from crds.pool import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

# After spec, tasks and an index, pydantic's location holds the discriminator's value.
_TASK_TAG = 3
_PATTERNS = {
    NAME_PATTERN: "lower-case letters and digits, words joined by '-'",
    MODULE_FUNCTION: "module:function",
    RELATIVE_FILE: "a relative path of letters, digits, '_', '-', '.' and '/'",
    r"^[a-z_][a-z0-9_]*$": "lower-case letters, digits and '_', not starting with a digit",
    r"^[\w/+=.@-]+$": "the name of a secret: letters, digits and /_+=.@-",
    r"^[A-Za-z0-9_-]{1,71}\.fifo$": "letters, digits, '-' and '_', ending in .fifo",
    r"^[0-9a-f]{64}$": "64 hexadecimal digits",
}
_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "datetime_type": "a time like 2013-01-01T00:00:00Z",
    "datetime_parsing": "a time like 2013-01-01T00:00:00Z",
}


def findings_of(error: ValidationError, model: type[BaseModel]) -> Iterator[Finding]:
    """Return a finding for each error of a model's validation."""
    details = error.errors(include_url=False)
    for detail in details:
        if not _is_echo(detail):
            yield _finding(detail, model)


def _is_echo(detail: ErrorDetails) -> bool:
    """Tell whether a list only seems too short because its items failed; those are reported themselves."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def _finding(detail: ErrorDetails, model: type[BaseModel]) -> Finding:
    path, kind, given = _path(detail["loc"]), detail["type"], detail["input"]
    context: dict[str, Any] = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return Finding(path, "unknown field", nearest(path[-1], known_fields(model, detail["loc"][:-1])))
    if kind == "missing":
        return Finding(path, "missing field")
    if kind == "union_tag_not_found":
        return Finding((*path, "runtime"), f"missing field; one of {', '.join(Runtime)}")
    if kind == "union_tag_invalid":
        return _not_one_of((*path, "runtime"), context["tag"], context["expected_tags"])
    if kind in {"enum", "literal_error"}:
        return _not_one_of(path, given, context["expected"])
    return Finding(path, _message(detail, context, given))


def _message(detail: ErrorDetails, context: dict[str, Any], given: Any) -> str:
    kind = detail["type"]
    if kind in _TYPES:
        hint = "; quote it" if kind == "string_type" and isinstance(given, int | float) else ""
        return f"must be {_TYPES[kind]}, not {shown(given)}{hint}"
    describe = _LIMITS.get(kind)
    return describe(context, given) if describe else detail["msg"]


def _not_one_of(path: FieldPath, given: object, expected: str) -> Finding:
    """`expected` is pydantic's list of choices: 'a', 'b' or 'c'."""
    choices = re.findall(r"'([^']*)'", expected)
    return Finding(path, f"{shown(given)} is not one of {', '.join(choices)}", nearest(given, choices))


def _path(location: tuple[str | int, ...]) -> FieldPath:
    tagged = location[:2] == ("spec", "tasks") and len(location) > _TASK_TAG
    path = location[:_TASK_TAG] + location[_TASK_TAG + 1 :] if tagged else location
    # Pydantic marks an error of a mapping's key by a last element of its own.
    return path[:-1] if path and path[-1] == "[key]" else path


def _pattern(context: dict[str, Any], given: Any) -> str:
    allowed = _PATTERNS.get(context["pattern"])
    return f"{shown(given)} is not allowed; write {allowed or 'text that matches ' + context['pattern']}"


_LIMITS: dict[str, Callable[[dict[str, Any], Any], str]] = {
    "value_error": lambda context, _: str(context["error"]),
    "string_pattern_mismatch": _pattern,
    "string_too_long": lambda context, given: (
        f"has {len(given)} characters; at most {context['max_length']} are allowed"
    ),
    "string_too_short": lambda context, _: f"must have at least {context['min_length']} characters",
    "too_long": lambda context, given: f"has {len(given)} items; at most {context['max_length']} are allowed",
    "too_short": lambda context, _: f"must have at least {context['min_length']} items",
    "greater_than_equal": lambda context, given: f"must be at least {context['ge']:g}, not {given}",
    "less_than_equal": lambda context, given: f"must be at most {context['le']:g}, not {given}",
}
