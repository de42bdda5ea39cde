"""Order and pick: rows by a column, objects by a path such as `.status.phase`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from controller.cli.errors import CliError, Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DEPTH = 16
_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[(\d+|\*)\]")
_NUMBER = re.compile(r"-?[\d,]+(?:\.\d+)?")


def sorted_rows(
    headers: Sequence[str], rows: Sequence[Sequence[str]], column: str | None, *, largest_first: bool = False
) -> list[Sequence[str]]:
    """Return rows by a column, numbers by their size."""
    if column is None:
        return list(rows)
    names = [header.lower().replace(" ", "-") for header in headers]
    wanted = column.lower().replace(" ", "-")
    if wanted not in names:
        raise CliError(f"there is no column {column!r}; columns are {', '.join(names)}", Exit.USAGE)
    place = names.index(wanted)
    return sorted(rows, key=lambda row: _rank(row[place]), reverse=largest_first)


def by_path(items: Sequence[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """Return objects by the value at a path."""
    return sorted(items, key=lambda item: _rank(shown(at(item, path))))


def at(value: Any, path: str) -> list[Any]:
    """Return what stands at a path such as `.spec.tasks[*].name`; nothing where a part is missing."""
    found = [value]
    for name, index in _steps(path):
        if name:
            found = [each[name] for each in found if isinstance(each, dict) and name in each]
        elif index == "*":
            found = [part for each in found for part in (each.values() if isinstance(each, dict) else _list(each))]
        else:
            found = [_list(each)[int(index)] for each in found if int(index) < len(_list(each))]
    return found


def shown(found: Sequence[Any]) -> str:
    """Return what was found as a cell."""
    return ",".join(each if isinstance(each, str) else _json(each) for each in found) or "<none>"


def _json(value: Any) -> str:
    import json  # noqa: PLC0415 - most cells are text

    return json.dumps(value, ensure_ascii=False)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _steps(path: str) -> list[tuple[str, str]]:
    bare = path.removeprefix("{").removesuffix("}").removeprefix("$")
    dotted = bare if bare.startswith((".", "[")) else f".{bare}"
    steps = _STEP.findall(dotted)
    if "".join(f".{name}" if name else f"[{index}]" for name, index in steps) != dotted or len(steps) > MAX_DEPTH:
        raise CliError(f"{path!r} is no path; write .spec.tasks[0].name, [*] for all", Exit.USAGE)
    return steps


def _rank(cell: str) -> tuple[int, float, str]:
    if _NUMBER.fullmatch(cell):
        return 0, float(cell.replace(",", "")), ""
    return 1, 0.0, cell
