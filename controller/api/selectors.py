"""Label and field selectors, as kubectl writes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from controller.api.errors import bad_request
from controller.store.selection import Labels
from crds.finding import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_TERMS = 50

_KEY = r"[A-Za-z0-9]([\w./-]{0,61}[A-Za-z0-9])?"
_VALUE = r"[\w./-]{0,63}"
_EQUALITY = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s+\(\s*({_VALUE}(\s*,\s*{_VALUE})*)\s*\)")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
# A comma separates terms unless it stands between parentheses.
_COMMA = re.compile(r",(?![^(]*\))")


def parse_labels(text: str | None) -> Labels:
    """Return a label selector: `a=b`, `a!=b`, `a`, `!a`, `a in (b, c)`, `a notin (b)`, joined by commas."""
    within: dict[str, tuple[str, ...]] = {}
    without: dict[str, tuple[str, ...]] = {}
    present: list[str] = []
    absent: list[str] = []
    for term in _terms(text, _COMMA):
        if match := _EQUALITY.fullmatch(term):
            _add(without if match[3] == "!=" else within, match[1], (match[4],), without)
        elif match := _SET.fullmatch(term):
            values = tuple(value.strip() for value in match[4].split(","))
            _add(within if match[3] == "in" else without, match[1], values, without)
        elif match := _EXISTS.fullmatch(term):
            (absent if match[1] else present).append(match[2])
        else:
            raise bad_request(f"labelSelector: {shown(term)} is not of the form a=b, a!=b, a, !a or a in (b, c)")
    return Labels(within, without, tuple(present), tuple(absent))


def _add(terms: dict[str, tuple[str, ...]], key: str, values: tuple[str, ...], without: object) -> None:
    """Join a term with one of the same key: all must hold, so that a term more never selects more."""
    before = terms.get(key)
    if before is None:
        terms[key] = values
    elif terms is without:
        terms[key] = (*before, *values)
    else:
        terms[key] = tuple(value for value in before if value in values)


def parse_fields(text: str | None, allowed: Collection[str]) -> Mapping[str, str]:
    """Return a field selector: `run=x,phase=Failed`; only the allowed fields can be selected by."""
    fields: dict[str, str] = {}
    for term in _terms(text, re.compile(",")):
        match = _EQUALITY.fullmatch(term)
        if not match or match[3] == "!=":
            raise bad_request(f"fieldSelector: {shown(term)} is not of the form field=value")
        if match[1] not in allowed:
            raise bad_request(f"fieldSelector: {shown(match[1])} is none of {', '.join(sorted(allowed)) or 'no field'}")
        fields[match[1]] = match[4]
    return fields


def _terms(text: str | None, separator: re.Pattern[str]) -> list[str]:
    terms = [term.strip() for term in separator.split(text)] if text and text.strip() else []
    if len(terms) > MAX_TERMS:
        raise bad_request(f"a selector has at most {MAX_TERMS} terms")
    return terms
