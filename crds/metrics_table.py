"""The table of a program's metrics in docs/metrics.md, made from their declarations."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crds.instruments import Declared

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
_HEAD = "| metric | type | labels | unit | CloudWatch | meaning |\n|---|---|---|---|---|---|\n"


def table(declared: Iterable[Declared]) -> str:
    """Return the table, in the order of names."""
    return _HEAD + "".join(_row(one) for one in sorted(declared, key=lambda d: d.sample))


def replaced(page: str, program: str, rows: str) -> str:
    """Return a page with the table between a program's marks replaced; raise ValueError if it has no such marks."""
    begin, end = f"<!-- {program}: generated -->\n", f"<!-- {program}: end -->"
    head, opened, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not opened or not closed:
        raise ValueError(f"docs/metrics.md has no place for the {program}'s table; put {begin.strip()} and {end} there")
    return f"{head}{begin}{rows}{end}{tail}"


def main(program: str, command: str, declared: Iterable[Declared], arguments: list[str]) -> int:
    """Write a program's table, or check it; return the exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"usage: {command} [--check]\n")
        return 2
    page = PAGE.read_text(encoding="utf-8")
    wanted = replaced(page, program, table(declared))
    if not arguments:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    if page != wanted:
        sys.stderr.write(f"docs/metrics.md is stale; run `{command}`\n")
    return 0 if page == wanted else 1


def _row(one: Declared) -> str:
    labels = ", ".join(one.labels) or "–"
    cloud = one.cloud.value if one.cloud is not None else "–"
    meaning = f"{one.text} *Leader.*" if one.fleet else one.text
    unit = one.unit.lower().replace("none", "ratio")
    return f"| `{one.sample}` | {one.kind} | {labels} | {unit} | {cloud} | {meaning} |\n"
