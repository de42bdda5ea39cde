"""Fill `${params.x}`, `${secrets.x}` and `${run.x}` into a source, and keep secrets out of messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from workers.task import TaskFailed

if TYPE_CHECKING:
    from workers.context import Context

_PLACEHOLDER = re.compile(r"\$\{\s*([a-z]+)\.([A-Za-z_][\w-]*)\s*\}")
_OPENING = re.compile(r"\$\{")
_RUN = ("tick", "run", "dag", "task", "attempt")
_HIDDEN = "***"


def fill(text: str, context: Context) -> str:
    """Return the text with every placeholder replaced; raise TaskFailed for one that has no value."""
    if len(_OPENING.findall(text)) != len(_PLACEHOLDER.findall(text)):
        raise TaskFailed("UnknownPlaceholder", f"a placeholder in {text!r} is none of {_forms()}")
    return _PLACEHOLDER.sub(lambda match: _text(lookup(match[1], match[2], context)), text)


def lookup(scope: str, name: str, context: Context) -> Any:
    """Return the value that one placeholder names."""
    if scope == "secrets":
        return context.secrets[name]
    values: dict[str, Any] = {}
    if scope == "params":
        values = context.params
    if scope == "run":
        tick = context.run.tick
        values = {key: getattr(context.run, key) for key in _RUN} | {"tick": tick.isoformat() if tick else None}
    if values.get(name) is None:
        hint = "; a run that people trigger has no tick" if (scope, name) == ("run", "tick") else ""
        raise TaskFailed("UnknownPlaceholder", f"${{{scope}.{name}}} has no value in this run{hint}; use {_forms()}")
    return values[name]


def placeholders(text: str) -> list[tuple[str, str, str]]:
    """Return the placeholders of a text: what is written, the scope, the name."""
    return [(match[0], match[1], match[2]) for match in _PLACEHOLDER.finditer(text)]


def redact(text: str, context: Context) -> str:
    """Return the text without the values of the secrets that were fetched, also as they look in a URL."""
    for secret in context.secrets.fetched():
        for form in {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)} - {""}:
            text = text.replace(form, _HIDDEN)
    return text


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _forms() -> str:
    return "${params.NAME}, ${secrets.ALIAS}, " + ", ".join(f"${{run.{name}}}" for name in _RUN)
