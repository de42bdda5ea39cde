"""YAML with the meaning of YAML 1.2, its lines, and its limits."""

from __future__ import annotations

from typing import Any

import pytest

from crds.positions import MAX_DEPTH, MAX_DOCUMENTS, Mark, read_yaml

INTEGER = "an integer has at most 64 bits; quote it to make it text"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghij", "bcdefghijk", strict=True)
)
# Each anchor is shallow, but each holds the one before.
DEEP_ALIASES = "a: &a [x]\n" + "".join(
    f"{name}: &{name} {'[' * 9}*{before}{']' * 9}\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("no", "no", id="no is text"),
        pytest.param("on", "on", id="on is text"),
        pytest.param("2013-01-01", "2013-01-01", id="a day is text"),
        pytest.param("1:30", "1:30", id="a clock time is text"),
        pytest.param("0x1F", "0x1F", id="hexadecimal is text"),
        pytest.param("1_000", "1_000", id="underscores are text"),
        pytest.param("'5'", "5", id="quoted number"),
        pytest.param("!!str 5", "5", id="tagged number"),
        pytest.param("5", 5, id="integer"),
        pytest.param("-5", -5, id="negative"),
        pytest.param("007", 7, id="leading zeros"),
        pytest.param("1.5e3", 1500.0, id="float"),
        pytest.param(".5", 0.5, id="no digit before the point"),
        pytest.param("true", True, id="true"),
        pytest.param("~", None, id="null"),
        pytest.param("a:", {"a": None}, id="empty value"),
        pytest.param("1: x", {"1": "x"}, id="number as a key"),
        pytest.param("a: &x [1]\nb: *x", {"a": [1], "b": [1]}, id="alias"),
        pytest.param(
            "a: &x {k: 1, l: 1}\nb: {<<: *x, l: 2}", {"a": {"k": 1, "l": 1}, "b": {"l": 2, "k": 1}}, id="merge"
        ),
        pytest.param("\ufeffa: 1", {"a": 1}, id="byte order mark"),
    ],
)
def test_values(text: str, value: Any) -> None:
    read = read_yaml(text)
    assert read.problems == ()
    assert [document.plain() for document in read.documents] == [value]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        pytest.param(BOMB, 6, "a file has at most 200000 values, aliases expanded; split it", id="billion laughs"),
        pytest.param("[" * (MAX_DEPTH + 2), 1, "nested more than 40 deep", id="depth"),
        pytest.param(DEEP_ALIASES, 6, "nested more than 40 deep", id="depth by aliases"),
        pytest.param("--- 1\n" * (MAX_DOCUMENTS + 1), 5001, "a file has at most 5000 documents; split it", id="many"),
        pytest.param("a: 1\nb: 2\na: 3", 3, 'the key "a" stands twice, first in line 1', id="duplicate key"),
        pytest.param("a: &a [*a]", 1, 'the alias "*a" has no anchor before it', id="alias to itself"),
        pytest.param("a: &a 1\n---\nb: *a", 3, 'the alias "*a" has no anchor before it', id="alias across documents"),
        pytest.param(
            "\n!!python/object/apply:os.system [x]",
            2,
            'the tag "tag:yaml.org,2002:python/object/apply:os.system" is not supported; write plain values',
            id="tag",
        ),
        pytest.param("? [a]\n: b", 1, "a key must be text", id="key that is a list"),
        pytest.param("a: 1\nb: \0", 2, "the character U+0000 may not stand in YAML", id="NUL"),
        pytest.param("a: 99999999999999999999", 1, INTEGER, id="large"),
        pytest.param("a: " + "9" * 9_999, 1, INTEGER, id="very large"),
        pytest.param("a: 1e999", 1, "the number is too large; quote it to make it text", id="infinite"),
        pytest.param("a: {<<: 5}", 1, "<< merges mappings only", id="merge of a number"),
    ],
)  # fmt: skip
def test_problems(text: str, line: int, message: str) -> None:
    ((mark, found),) = read_yaml(text).problems
    assert (mark.line, found) == (line, message)


def test_documents_before_a_syntax_error_are_read() -> None:
    read = read_yaml("a: 1\n---\nb: [\n")
    assert [document.plain() for document in read.documents] == [{"a": 1}]
    ((mark, message),) = read.problems
    assert mark.line == 4
    assert message.startswith("no YAML: ")


def test_fields_are_found_at_their_keys() -> None:
    (document,) = read_yaml("a:\n  - b: 1\n    c:\n      d: 2\n").documents
    assert document.find(("a", 0, "c", "d")) == Mark(4, 7)
    assert document.find(("a", 0, "c", "missing")) == Mark(3, 5)
    assert document.find(("a", 5)) == Mark(1, 1)
    assert document.find(()) == Mark(1, 1)
