"""YAML: mutations of the examples and texts made to hurt. Nothing raises; all say where."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from crds.check import check
from crds.loader import load_text
from crds.parse import parse
from crds.storable import unstorable

ROOT = Path(__file__).parents[2]
TEXTS = [path.read_text() for path in sorted(ROOT.glob("dags/*/*.yaml"))]
DOCUMENTS = [document for text in TEXTS for document in yaml.safe_load_all(text) if document]
_PLACE = re.compile(r"<stdin>:[1-9][0-9]*: \S")

AWFUL = [
    "",
    "\0",
    "\x1b[2J",
    "\ud800",
    "'; DROP TABLE run; --",
    "$(reboot)",
    "../../etc/passwd",
    "a\nb",
    "é" * 300,
    "x" * 70_000,
]
AWFUL_VALUES: list[Any] = [
    *AWFUL,
    None,
    True,
    -1,
    2**63,
    10**40,
    1e308,
    float("inf"),
    float("nan"),
    [],
    {},
    [[]],
    {"": {}},
]


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of each value in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in items for found in paths(item, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy of a document with another value at a path."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


PLACES = [(number, path) for number, document in enumerate(DOCUMENTS) for path in paths(document)]
anything = st.recursive(
    st.one_of(st.sampled_from(AWFUL_VALUES), st.text(), st.integers(), st.floats()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@given(place=st.sampled_from(PLACES), new=anything)
@settings(max_examples=300)
def test_a_mutated_document_is_refused_or_can_be_stored(place: tuple[int, tuple[Any, ...]], new: Any) -> None:
    document = replaced(DOCUMENTS[place[0]], place[1], new)
    parsed = parse(document)
    assert (parsed.resource is None) == bool(parsed.findings)
    assert all(finding.message and len(str(finding)) < 5_000 for finding in parsed.findings)
    if parsed.resource is not None:
        stored = json.loads(parsed.resource.model_dump_json(by_alias=True, exclude_none=True))
        assert unstorable(stored) is None
        assert parse(stored).resource == parsed.resource
        assert all(finding.message for _, finding in check([parsed.resource], None))


@given(place=st.sampled_from(PLACES), key=st.sampled_from(AWFUL), new=anything)
@settings(max_examples=100)
def test_an_unknown_field_is_told_wherever_it_stands(place: tuple[int, tuple[Any, ...]], key: str, new: Any) -> None:
    found = DOCUMENTS[place[0]]
    for part in place[1]:
        found = found[part]
    if isinstance(found, dict):
        parsed = parse(replaced(DOCUMENTS[place[0]], place[1], {**found, key: new}))
        assert parsed.resource is not None or parsed.findings


@given(
    text=st.sampled_from(TEXTS),
    cut=st.integers(0, 4_000),
    removed=st.integers(0, 40),
    put=st.text(max_size=20)
    | st.sampled_from(["\t", "&a ", "*a ", "<<: ", "!!", "---\n", "? ", "| ", "{", "]", '"', "%", "\r"]),
)
@settings(max_examples=300)
def test_torn_text_is_read_or_its_line_is_told(text: str, cut: int, removed: int, put: str) -> None:
    torn = text[:cut] + put + text[cut + removed :]
    assert_told(torn, may_be_fine=True)


@given(text=st.text())
def test_any_text(text: str) -> None:
    assert_told(text, may_be_fine=True)


def assert_told(text: str, *, may_be_fine: bool = False) -> list[str]:
    """Check that a text gives resources, or lines that say where and what; return the lines."""
    problems = [str(problem) for problem in load_text(text).problems]
    assert may_be_fine or problems
    lines = text.count("\n") + len(re.findall("[\r\x85\u2028\u2029]", text)) + 1
    for problem in problems:
        assert _PLACE.match(problem), problem
        # What is missing at the end is missed in the line behind it.
        assert int(problem.split(":")[1]) <= lines + 1
        assert problem.isprintable()
        assert len(problem) < 5_000
    return problems


DAG = "kind: Dag\nmetadata: {name: h}\nspec:\n  tasks:\n  - {name: a, runtime: python, with: {entrypoint: 'm:f'}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(9)), "kind", id="small aliases"
        ),
        pytest.param(
            "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)),
            "aliases expanded",
            id="billion laughs",
        ),
        pytest.param(
            "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}}}\n" for n in range(1, 40)),
            "aliases expanded",
            id="billion laughs of mappings",
        ),
        pytest.param("a: &a {b: *a}\n", "no anchor", id="a loop"),
        pytest.param("x: *none\n", "no anchor", id="an alias to nothing"),
        pytest.param("x: &" + "a" * 900 + " 1\ny: *" + "b" * 900 + "\n", "no anchor", id="long anchors"),
        pytest.param("!!python/object/apply:os.system ['reboot']\n", "tag", id="a Python object"),
        pytest.param("a: !!python/name:os.system\n", "tag", id="a Python name"),
        pytest.param("a: !!binary aGk=\n", "tag", id="binary"),
        pytest.param("a: !<tag:" + "x" * 900 + "> b\n", "tag", id="a long tag"),
        pytest.param("%YAML 9.9\n---\na: b\n", "", id="another version"),
        pytest.param("%TAG ! tag:evil,2000:\n---\na: !x b\n", "tag", id="a tag directive"),
        pytest.param("<<: [{kind: Dag}, 5]\n", "merges mappings only", id="a merge of a number"),
        pytest.param("<<: 5\n", "merges mappings only", id="a merge of nothing"),
        pytest.param("? [a, b]\n: c\n", "a key must be text", id="a list as a key"),
        pytest.param("? {a: b}\n: c\n", "a key must be text", id="a mapping as a key"),
        pytest.param("a:\n\t- b\n", "no YAML", id="a tab"),
        pytest.param(DAG + "kind: Dag\n", "twice", id="a key twice"),
        pytest.param(DAG.replace("\n", "\r\n") + "kind: Dag\r\n", "twice", id="CRLF"),
        pytest.param("\ufeff" + DAG + "kind: Dag\n", "twice", id="a byte order mark"),
        pytest.param(DAG + "---\n\ufeff" + DAG, "no YAML", id="a byte order mark inside"),
        pytest.param("a: " + "[" * 10_000 + "\n", "deep", id="10,000 brackets"),
        pytest.param("- " * 10_000 + "a\n", "deep", id="10,000 lists"),
        pytest.param("".join(" " * n + "a:\n" for n in range(300)), "deep", id="300 levels"),
        pytest.param("a: '" + "x" * 1_000_000 + "'\n", "kind", id="1 MB of text"),
        pytest.param("x" * 500_000 + ": 1\n" + "x" * 500_000 + ": 1\n", "no YAML", id="keys of 500 kB"),
        pytest.param("---\n" * 6_000 + "a\n", "", id="6,000 documents"),
        pytest.param("a: 0x7fffffffffffffffffff\n", "kind", id="hexadecimal"),
        pytest.param("a: " + "9" * 100_000 + "\n", "64 bits", id="an integer of 100,000 digits"),
        pytest.param("a: 1e99999\n", "too large", id="1e99999"),
        pytest.param("a: \x1b[2J\n", "U+001B", id="an escape"),
        pytest.param('a: "\\x1b[2J\\0"\n', "NUL", id="escaped control characters"),
        pytest.param('kind: "a\\n<stdin>:1: all is well"\n', "kind", id="a value that looks like our lines"),
        pytest.param("kind: Dag\n\u202egad\n", "no YAML", id="a turned direction"),
        pytest.param(
            "kind: Dag\nmetadata: {name: h}\nspec: {tasks: " + "[{}, " * 30 + "]" * 30 + "}\n", "tasks", id="lists"
        ),
    ],
)
def test_texts_made_to_hurt(text: str, message: str) -> None:
    problems = assert_told(text)
    assert any(message in problem for problem in problems), problems[:3]
