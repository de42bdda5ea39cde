"""What differs between two JSON documents, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

# A list of more changes than this helps nobody.
MAX_CHANGES = 500

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs; None where it is absent."""

    path: str
    old: Any
    new: Any


def changes(old: Any, new: Any, path: str = "") -> list[Change]:
    """Return the fields that differ, in order; list items that carry a name are matched by it."""
    return list(islice(_walk(old, new, path), MAX_CHANGES))


def _walk(old: Any, new: Any, path: str) -> Iterator[Change]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _fields(old, new, path)
    elif _named(old) and _named(new):
        yield from _fields({x["name"]: x for x in old}, {x["name"]: x for x in new}, path, item="[{}]")
        order = [x["name"] for x in old], [x["name"] for x in new]
        if sorted(order[0]) == sorted(order[1]) and order[0] != order[1]:
            yield Change(f"{path} (order)", order[0], order[1])
    else:
        yield Change(path, _plain(old), _plain(new))


def _fields(old: Mapping[str, Any], new: Mapping[str, Any], path: str, item: str = ".{}") -> Iterator[Change]:
    for key in dict.fromkeys([*old, *new]):
        here = f"{path}{item.format(key)}".removeprefix(".")
        yield from _walk(old.get(key, _ABSENT), new.get(key, _ABSENT), here)


def _named(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(x, Mapping) and isinstance(x.get("name"), str) for x in value)
    )


def _plain(value: Any) -> Any:
    return None if value is _ABSENT else value
