"""YAML text as values that know their lines.

Scalars mean what YAML 1.2's core schema says: `no`, `on`, `2013-01-01` and `1:30` are text. Aliases and merge
keys (`<<`) work, within limits: an alias costs what it expands to.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from crds.finding import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from crds.finding import FieldPath

MAX_NODES = 200_000
MAX_DEPTH = 40
MAX_DOCUMENTS = 5_000

# libyaml is ten times as fast; the pure parser gives the same events.
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_STANDARD = "tag:yaml.org,2002:"
_TAGS = {None, "!", f"{_STANDARD}str", f"{_STANDARD}map", f"{_STANDARD}seq"}
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_MAX_INTEGER = 2**63

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a text; both count from 1."""

    line: int
    column: int


class Unreadable(Exception):
    """Text that is no YAML, or more of it than is read."""

    def __init__(self, message: str, mark: Mark) -> None:
        super().__init__(message)
        self.message = message
        self.mark = mark


@dataclass(frozen=True, slots=True)
class Node:
    """A value, its place, and the places of its keys. `size` counts the values in it, itself too."""

    value: Scalar | dict[str, Node] | list[Node]
    mark: Mark
    keys: dict[str, Mark] = field(default_factory=dict)
    size: int = 1
    height: int = 0

    def plain(self) -> Any:
        """Return the value as JSON-like Python."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, path: FieldPath) -> Mark:
        """Return where a field stands: its key, or the deepest parent of it that is there."""
        node, mark = self, self.mark
        for part in path:
            if isinstance(node.value, dict) and isinstance(part, str) and part in node.value:
                node, mark = node.value[part], node.keys[part]
            elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                mark = node.mark
            else:
                break
        return mark


@dataclass(frozen=True, slots=True)
class Text:
    """The documents of a text, and what is wrong with it; documents before a syntax error are there too."""

    documents: tuple[Node, ...]
    problems: tuple[tuple[Mark, str], ...]


def read_yaml(text: str) -> Text:
    """Return the documents of YAML text; never raise."""
    text = text.removeprefix("\ufeff")
    bad = _UNREADABLE.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        mark = Mark(line, bad.start() - text.rfind("\n", 0, bad.start()))
        return Text((), ((mark, f"the character U+{ord(bad[0]):04X} may not stand in YAML"),))
    composer = _Composer(yaml.parse(text, Loader=_PARSER))
    documents: list[Node] = []
    try:
        # Not `extend`, which may drop what came before an error.
        for document in composer.documents():
            documents.append(document)  # noqa: PERF402
    except Unreadable as error:
        composer.problems.append((error.mark, error.message))
    except yaml.YAMLError as error:
        composer.problems.append(_syntax(error))
    return Text(tuple(documents), tuple(composer.problems))


def _syntax(error: yaml.YAMLError) -> tuple[Mark, str]:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or "it cannot be read"
    return (Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)), f"no YAML: {problem}"


class _Composer:
    """Builds nodes from parser events, within limits."""

    def __init__(self, events: Iterator[Event]) -> None:
        self.events = events
        self.anchors: dict[str, Node] = {}
        self.problems: list[tuple[Mark, str]] = []
        self.size = 0

    def documents(self) -> Iterator[Node]:
        count = 0
        for event in self.events:
            if not isinstance(event, DocumentStartEvent):
                continue
            count += 1
            self.anchors = {}
            document = self.node(next(self.events), 0)
            if count > MAX_DOCUMENTS:
                raise Unreadable(f"a file has at most {MAX_DOCUMENTS} documents; split it", document.mark)
            yield document

    def node(self, event: Event, depth: int) -> Node:
        mark = _mark(event)
        if depth > MAX_DEPTH:
            raise Unreadable(f"nested more than {MAX_DEPTH} deep", mark)
        if isinstance(event, AliasEvent):
            return self.alias(event, mark, depth)
        self.count(1, mark)
        if not isinstance(event, ScalarEvent | CollectionStartEvent):
            raise Unreadable("no YAML: a value is missing", mark)
        if event.tag not in _TAGS:
            raise Unreadable(f"the tag {shown(event.tag)} is not supported; write plain values", mark)
        if isinstance(event, ScalarEvent):
            node = Node(_scalar(event, mark), mark)
        elif isinstance(event, MappingStartEvent):
            node = self.mapping(mark, depth)
        else:
            node = self.sequence(mark, depth)
        if event.anchor is not None:
            # Only now, so that a value cannot hold itself.
            self.anchors[event.anchor] = node
        return node

    def count(self, more: int, mark: Mark) -> None:
        self.size += more
        if self.size > MAX_NODES:
            raise Unreadable(f"a file has at most {MAX_NODES} values, aliases expanded; split it", mark)

    def alias(self, event: AliasEvent, mark: Mark, depth: int) -> Node:
        node = self.anchors.get(event.anchor or "")
        if node is None:
            raise Unreadable(f"the alias {shown(f'*{event.anchor}')} has no anchor before it", mark)
        if depth + node.height > MAX_DEPTH:
            raise Unreadable(f"nested more than {MAX_DEPTH} deep", mark)
        self.count(node.size, mark)
        return node

    def sequence(self, mark: Mark, depth: int) -> Node:
        items: list[Node] = []
        for event in self.events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self.node(event, depth + 1))
        return Node(items, mark, {}, *_extent(items))

    def mapping(self, mark: Mark, depth: int) -> Node:
        entries: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        merged: list[Node] = []
        for event in self.events:
            if isinstance(event, MappingEndEvent):
                break
            key, at, merge = self.key(event)
            value = self.node(next(self.events), depth + 1)
            if merge:
                merged += value.value if isinstance(value.value, list) else [value]
            elif key in entries:
                self.problems.append((at, f"the key {shown(key)} stands twice, first in line {keys[key].line}"))
            else:
                entries[key], keys[key] = value, at
        for other in merged:
            if not isinstance(other.value, dict):
                raise Unreadable("<< merges mappings only", mark)
            for key, value in other.value.items():
                entries.setdefault(key, value)
                keys.setdefault(key, other.keys[key])
        return Node(entries, mark, keys, *_extent(entries.values()))

    def key(self, event: Event) -> tuple[str, Mark, bool]:
        mark = _mark(event)
        if isinstance(event, AliasEvent):
            key = self.alias(event, mark, 0).value
            if isinstance(key, str):
                return key, mark, False
        if not isinstance(event, ScalarEvent):
            raise Unreadable("a key must be text", mark)
        return event.value, mark, event.value == "<<" and event.implicit[0]


def _mark(event: Event) -> Mark:
    # The stubs allow None, the parsers always give a mark.
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1) if start else Mark(1, 1)


def _extent(nodes: Collection[Node]) -> tuple[int, int]:
    return 1 + sum(node.size for node in nodes), 1 + max((node.height for node in nodes), default=0)


def _scalar(event: ScalarEvent, mark: Mark) -> Scalar:
    text = event.value
    if not event.implicit[0]:
        return str(text)
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        # The bound on digits comes first: Python refuses to read very long integers.
        if len(text) > len(str(_MAX_INTEGER)) + 1 or not -_MAX_INTEGER <= int(text) < _MAX_INTEGER:
            raise Unreadable("an integer has at most 64 bits; quote it to make it text", mark)
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise Unreadable("the number is too large; quote it to make it text", mark)
        return number
    return str(text)
