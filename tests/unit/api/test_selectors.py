"""Selectors and watches without a server."""

from __future__ import annotations

import json

import pytest

from controller.api.errors import RefusedError
from controller.api.selectors import parse_fields, parse_labels
from controller.api.watch import Changes
from controller.store.selection import Labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(None, Labels(), id="none"),
        pytest.param("a=b", Labels(within={"a": ("b",)}), id="equal"),
        pytest.param("a == b , c!=d", Labels(within={"a": ("b",)}, without={"c": ("d",)}), id="two"),
        pytest.param("a,!b", Labels(present=("a",), absent=("b",)), id="presence"),
        pytest.param("a in (b, c),d notin (e)", Labels({"a": ("b", "c")}, {"d": ("e",)}), id="sets"),
        pytest.param("a=b,a=c", Labels({"a": ()}), id="a key twice: both terms hold"),
        pytest.param("a in (b, c),a in (c, d),a!=e,a!=f", Labels({"a": ("c",)}, {"a": ("e", "f")}), id="narrower"),
        pytest.param("app.kubernetes.io/name=", Labels({"app.kubernetes.io/name": ("",)}), id="prefix, empty value"),
    ],
)
def test_labels(text: str | None, expected: Labels) -> None:
    assert parse_labels(text) == expected


@pytest.mark.parametrize("text", ["a=b=c", "=b", "a in b", "a in (b", ",", "-a", "a=" + "x" * 64, ",".join("a" * 60)])
def test_bad_labels(text: str) -> None:
    with pytest.raises(RefusedError):
        parse_labels(text)


def test_fields() -> None:
    assert parse_fields("run=x, phase=Failed", {"run", "phase"}) == {"run": "x", "phase": "Failed"}
    with pytest.raises(RefusedError, match="none of phase, run"):
        parse_fields("name=x", {"run", "phase"})


def test_changes_tell_what_is_new_changed_and_gone() -> None:
    changes = Changes(deletable=True)

    def told(**versions: int) -> list[tuple[str, str]]:
        items = [{"metadata": {"name": name}, "v": version} for name, version in versions.items()]
        found = [json.loads(line) for line in changes.since(items)]
        return [(change["type"], change["object"]["metadata"]["name"]) for change in found]

    assert told(a=1, b=1) == [("ADDED", "a"), ("ADDED", "b")]
    assert told(a=1, b=1) == []
    assert told(a=2) == [("MODIFIED", "a"), ("DELETED", "b")]
