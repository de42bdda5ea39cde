"""What differs between two documents."""

from __future__ import annotations

from typing import Any

import pytest

from controller.diff.changes import MAX_CHANGES, Change, changes


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param({"a": 1}, {"a": 1}, [], id="equal"),
        pytest.param({"a": 1}, {"a": 2}, [Change("a", 1, 2)], id="value"),
        pytest.param({"a": 1}, {}, [Change("a", 1, None)], id="gone"),
        pytest.param({}, {"a": {"b": 1}}, [Change("a", None, {"b": 1})], id="new"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": 2}}, [Change("a.b", 1, 2)], id="nested"),
        pytest.param({"a": [1, 2]}, {"a": [2]}, [Change("a", [1, 2], [2])], id="plain list"),
        pytest.param(
            {"t": [{"name": "x", "v": 1}, {"name": "y"}]},
            {"t": [{"name": "y"}, {"name": "x", "v": 2}]},
            [Change("t[x].v", 1, 2), Change("t (order)", ["x", "y"], ["y", "x"])],
            id="named items",
        ),
        pytest.param({"t": []}, {"t": [{"name": "x"}]}, [Change("t[x]", None, {"name": "x"})], id="first named item"),
    ],
)
def test_changes(old: Any, new: Any, expected: list[Change]) -> None:
    assert changes(old, new) == expected


def test_the_list_is_bounded() -> None:
    assert len(changes({}, {str(n): n for n in range(2 * MAX_CHANGES)})) == MAX_CHANGES
