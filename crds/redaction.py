"""Keeping secrets out of logs, errors and whatever else people read: known values, and what looks like a secret. Pure."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote, unquote

MASK = "***"
# Shorter values would blank out ordinary text; such a secret protects nothing.
MIN_CHARS = 4
MIN_PROCESS_CHARS = 12
"""The same for the secrets of a process, which are drawn; on a developer's machine some are ordinary words."""
MAX_VALUES = 1_000
MAX_DEPTH = 6

_NAMES = (
    r"password|passwd|passphrase|client_secret|aws_secret_access_key|aws_session_token|api_?key|x-amz-security-token"
)
_VALUE = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s,;&\"'}\])]*[^\s,;&\"'}\]).]"
_PATTERNS = (
    # No boundary of a word in front: a repr writes a newline as two characters, the second a letter.
    (re.compile(r"(Bearer\s+)[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"(Authorization\W{1,6}Basic\s+)[A-Za-z0-9+/=]{4,}", re.IGNORECASE), rf"\1{MASK}"),
    # Quoted keys are those of JSON and of a dict's repr.
    (re.compile(rf"({_NAMES})(['\"]?\s*[=:]\s*)(?:{_VALUE})", re.IGNORECASE), rf"\1\2{MASK}"),
    (re.compile(r"\b(X-Amz-Signature=)[0-9a-f]+", re.IGNORECASE), rf"\1{MASK}"),
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MASK),
    (re.compile(r"(?<=://)[^/\s@?#'\"<>]+@"), f"{MASK}@"),
)
# What none of the patterns can match without; most text has none of it, and is not searched any further.
_HINTS = re.compile(r"bearer|basic|passw|passphrase|secret|token|api_?key|signature|AKIA|ASIA|://", re.IGNORECASE)
_SECRET_FIELDS = frozenset({"password", "token", "secret", "authorization", "dsn", "signature", "cookie"})
_DSN_PASSWORD = re.compile(r"\bpassword\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))")
_URL_PASSWORD = re.compile(r"://[^/\s:@]*:([^/\s]*)@")


class Redaction:
    """Values that must not be read by people, and their removal from text; safe to share between threads."""

    def __init__(self, also: Redaction | None = None, least: int = MIN_CHARS) -> None:
        self._also = also
        self._least = least
        # Replaced as a whole, so that no reader meets half a change.
        self._values: tuple[str, ...] = ()

    def add(self, value: str) -> None:
        """Hide a value: as a whole, by line, as part of a URL, and the strings in it if it is JSON."""
        found = {value, *value.splitlines(), *_json_strings(value)}
        found |= {quote(part, safe="") for part in found}
        fresh = {part.strip() for part in found} - set(self._values)
        values = [*self._values, *(part for part in fresh if len(part) >= self._least)]
        # The longest first, so that a value is not left half shown by one that is a part of it.
        self._values = tuple(sorted(values, key=len, reverse=True)[:MAX_VALUES])

    def add_dsn(self, text: str) -> None:
        """Hide the password of a libpq conninfo or of a URL."""
        for found in _DSN_PASSWORD.finditer(text):
            self.add(re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2])
        for found in _URL_PASSWORD.finditer(text):
            self.add(found[1])
            self.add(unquote(found[1]))

    def clean(self, text: str) -> str:
        """Return the text with every hidden value, and what looks like a secret, masked."""
        for value in self._values:
            text = text.replace(value, MASK)
        return self._also.clean(text) if self._also is not None else scrub(text)

    def clean_value(self, value: Any, depth: int = 0) -> Any:
        """Return a value with the texts in it clean; what is nested too deep is shown as text."""
        match value:
            case str():
                return self.clean(value)
            case bool() | int() | float() | None:
                return value
            case dict() if depth < MAX_DEPTH:
                return {self.clean(str(k)): self.clean_field(str(k), v, depth + 1) for k, v in value.items()}
            case list() | tuple() | set() | frozenset() if depth < MAX_DEPTH:
                return [self.clean_value(one, depth + 1) for one in value]
            case _:
                return self.clean(str(value))

    def clean_field(self, name: str, value: Any, depth: int = 0) -> Any:
        """Return a field's value clean: nothing of it, if its name says that it is a secret."""
        if name.lower() in _SECRET_FIELDS and value:
            return MASK
        return self.clean_value(value, depth)


KNOWN = Redaction(least=MIN_PROCESS_CHARS)
"""The secrets that this process holds. Whatever reads one adds it here."""


def scrub(text: str) -> str:
    """Return the text without what looks like a secret."""
    if not _HINTS.search(text):
        return text
    for pattern, shown in _PATTERNS:
        text = pattern.sub(shown, text)
    return text


def _json_strings(value: str) -> list[str]:
    if not value.lstrip().startswith(("{", "[")):
        return []
    try:
        return _strings(json.loads(value))
    except (ValueError, RecursionError):
        return []


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for one in value.values() for text in _strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in _strings(one)]
    return []
