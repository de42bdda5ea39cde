"""What is wrong with a resource: the field, what is wrong with it, and the nearest valid name."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FieldPath = tuple[str | int, ...]

# Comparing is slow, so a very long list of names is compared in part.
_MAX_COMPARED = 1_000
_MAX_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a resource. `suggestion` is the valid name nearest to the given one."""

    path: FieldPath
    message: str
    suggestion: str | None = None

    @property
    def field(self) -> str:
        """The field as people write it."""
        return field_text(self.path)

    def __str__(self) -> str:
        return _line(self.field, self.message, self.suggestion)


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding at its place in a file. Lines and columns count from 1."""

    file: str
    line: int
    column: int | None
    field: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        return f"{one_line(self.file)}:{self.line}: {_line(self.field, self.message, self.suggestion)}"


def field_text(path: FieldPath) -> str:
    """Return a path as people write it: `spec.tasks[2].needs[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{_cut(part)}"
    return text.removeprefix(".")


def nearest(given: object, choices: Iterable[str]) -> str | None:
    """Return the choice that was probably meant, or None."""
    compared = list(islice(choices, _MAX_COMPARED))
    word = str(given)[:_MAX_SHOWN]
    by_case = {choice.lower(): choice for choice in compared}
    if word.lower() in by_case:
        return by_case[word.lower()]
    close = difflib.get_close_matches(word, compared, n=1)
    return close[0] if close else None


def shown(value: object) -> str:
    """Return a value for a message: text in quotes, cut if long; YAML's words for the rest."""
    match value:
        case str():
            return f'"{_cut(value)}"'
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case list() | tuple():
            return "a list"
        case _:
            return "a mapping"


def _cut(text: str) -> str:
    """Return text that stays one line, cut if long."""
    plain = one_line(text[:_MAX_SHOWN])
    return plain if len(text) <= _MAX_SHOWN else f"{plain}…"


def one_line(text: str) -> str:
    """Return text with what is no printable character escaped, so that it cannot pass for a line of ours."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def _line(field: str, message: str, suggestion: str | None) -> str:
    # A message may quote what it complains of.
    text = one_line(f"{field}: {message}" if field else message)
    return f'{text}; did you mean "{suggestion}"?' if suggestion else text
