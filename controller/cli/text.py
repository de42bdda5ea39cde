"""Plain text for terminals: tables, ages, sizes, colours (only on a terminal)."""

from __future__ import annotations

import os
import re
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TextIO

from controller.cli.errors import CliError, Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLOURS = {"green": "32", "red": "31", "yellow": "33", "blue": "34", "grey": "90", "bold": "1"}
_PHASES = {
    "Succeeded": "green",
    "Ready": "green",
    "Active": "green",
    "True": "green",
    "Failed": "red",
    "UpstreamFailed": "red",
    "TimedOut": "red",
    "Lost": "red",
    "Warning": "red",
    "False": "red",
    "Running": "blue",
    "Backoff": "yellow",
    "Suspended": "yellow",
    "Cancelled": "yellow",
    "NoCapacity": "yellow",
    "Waiting": "grey",
    "Pending": "grey",
    "Skipped": "grey",
}
_GAP = "   "
_COLOUR = rf"\x1b\[(?:0|{'|'.join(_COLOURS.values())})m"
# Controls of the terminal, marks that turn the direction of writing round, and bytes of file names that are no text.
_HIDDEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_HIDDEN_OR_COLOUR = re.compile(f"{_COLOUR}|{_HIDDEN.pattern}")
_SPAN = re.compile(r"(\d{1,6})([dhms])")
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def coloured(stream: TextIO = sys.stdout) -> bool:
    """Tell whether a stream shows colours."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def visible(text: str, *, colours: bool = False) -> str:
    """Return text whose control characters can be read and do nothing; lines, tabs and, if wanted, colours stay."""
    return (_HIDDEN_OR_COLOUR if colours else _HIDDEN).sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0] if len(match[0]) > 1 else match[0].encode("unicode_escape").decode()


def out(text: str = "", *, flush: bool = False) -> None:
    """Print text for people; only our colours reach a terminal as what they are, whatever others have written."""
    print(visible(text, colours=coloured(sys.stdout)), flush=flush)


def err(text: str) -> None:
    """Print text for people beside the output."""
    print(visible(text, colours=coloured(sys.stderr)), file=sys.stderr, flush=True)


def paint(text: str, colour: str | None, *, on: bool) -> str:
    """Return text in a colour."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if on and colour else text


def phase_colour(phase: str) -> str | None:
    """Return the colour of a phase, a reason or a status."""
    return _PHASES.get(phase)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, colour: bool = False, head: bool = True) -> str:
    """Return rows in columns; cells that are phases are coloured."""
    readable = [[visible(cell) for cell in row] for row in rows]
    lines = [headers, *readable]
    widths = [max(len(line[n]) for line in lines) for n in range(len(headers))]
    shown = [_line(row, widths, colour=colour) for row in readable]
    return "\n".join([_line(headers, widths, colour=False), *shown] if head else shown)


def _line(cells: Sequence[str], widths: Sequence[int], *, colour: bool) -> str:
    padded = [
        paint(cell, phase_colour(cell), on=colour) + " " * (width - len(cell))
        for cell, width in zip(cells, widths, strict=True)
    ]
    return _GAP.join(padded).rstrip()


def parse_time(text: str | None) -> datetime | None:
    """Return the time that the API wrote."""
    return datetime.fromisoformat(text) if text else None


def parse_span(text: str) -> timedelta:
    """Return the span that a person wrote: `90s`, `10m`, `1h30m`, `2d`."""
    found = _SPAN.findall(text)
    if not found or "".join(f"{count}{unit}" for count, unit in found) != text:
        raise CliError(f"{text!r} is no span; write 30s, 10m, 2h or 1d", Exit.USAGE)
    sizes = dict(_UNITS)
    return timedelta(seconds=sum(int(count) * sizes[unit] for count, unit in found))


def span(value: timedelta) -> str:
    """Return a span as kubectl writes ages: `45s`, `3m20s`, `5h`, `2d`."""
    seconds = max(int(value.total_seconds()), 0)
    for n, (unit, size) in enumerate(_UNITS):
        count, rest = divmod(seconds, size)
        if count:
            lesser, lesser_size = _UNITS[n + 1] if n + 1 < len(_UNITS) else ("", 1)
            more = f"{rest // lesser_size}{lesser}" if lesser and count < 10 and rest // lesser_size else ""
            return f"{count}{unit}{more}"
    return "0s"


def seconds(value: float) -> str:
    """Return seconds as a span."""
    return span(timedelta(seconds=value))


def age(text: str | None, now: datetime) -> str:
    """Return how long ago something was."""
    then = parse_time(text)
    return "" if then is None else span(now - then)


def between(start: str | None, end: str | None, now: datetime) -> str:
    """Return how long something took, or has taken so far."""
    began = parse_time(start)
    return "" if began is None else span((parse_time(end) or now) - began)


def size(count: int) -> str:
    """Return bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def error(message: str) -> None:
    """Print an error."""
    label = paint("error:", "red", on=coloured(sys.stderr))
    err(f"{label} {message}")
