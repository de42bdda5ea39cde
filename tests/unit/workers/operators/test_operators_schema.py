"""What becomes of values on their way into a dataset's columns."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from crds.dataset import Column, ColumnType
from workers.data.frames import rows_frame
from workers.data.schema import conform, schema_hash
from workers.task import TaskFailed

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


def column(kind: str, *, nullable: bool = True) -> Column:
    return Column(name="c", type=ColumnType(kind), nullable=nullable)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        pytest.param([1, 2], "int32", [1, 2], id="narrower integer"),
        pytest.param([1.0, None], "int64", [1, None], id="whole floats"),
        pytest.param(["7", " 8 ", None], "int64", [7, 8, None], id="integers in text"),
        pytest.param([1, 2], "float64", [1.0, 2.0], id="integers as floats"),
        pytest.param([Decimal("1.5")], "float64", [1.5], id="decimals"),
        pytest.param(["1e3", "inf"], "float64", [1000.0, float("inf")], id="floats in text"),
        pytest.param(["true", "F", "1", None], "boolean", [True, False, True, None], id="booleans in text"),
        pytest.param([1, 2], "string", ["1", "2"], id="integers as text"),
        pytest.param([date(2013, 1, 2)], "string", ["2013-01-02"], id="dates as text"),
        pytest.param(["2013-01-02"], "date", [date(2013, 1, 2)], id="dates in text"),
        pytest.param([datetime.fromisoformat("2013-01-02")], "date", [date(2013, 1, 2)], id="midnights as dates"),
        pytest.param(
            [datetime.fromisoformat("2013-07-01T12:00")], "timestamp", [NOON], id="times without a zone are UTC"
        ),
        pytest.param([date(2013, 7, 1)], "timestamp", [NOON.replace(hour=0)], id="dates as times"),
        pytest.param(
            ["2013-07-01T12:00:00Z", "2013-07-01 14:00:00+02:00", "2013-07-01 12:00", "2013-07-01T14:00+0200", None],
            "timestamp",
            [NOON, NOON, NOON, NOON, None],
            id="times in text",
        ),
        pytest.param([[1, 2], None], "json", ["[1,2]", None], id="lists as JSON"),
        pytest.param([{"a": 1}, {"a": None}], "json", ['{"a":1}', '{"a":null}'], id="structs as JSON"),
        pytest.param([1, None], "json", ["1", None], id="numbers as JSON"),
        pytest.param([None, None], "date", [None, None], id="nulls of no type"),
        pytest.param([], "date", [], id="no rows"),
    ],
)
def test_conform(values: list[Any], kind: str, expected: list[Any]) -> None:
    frame = conform(pl.DataFrame({"c": values}), [column(kind)], "d")
    assert frame["c"].to_list() == expected


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        pytest.param([1.5], "int64", "1.5 .got Float64", id="fractions are not cut"),
        pytest.param([2**31], "int32", "2147483648", id="too large"),
        pytest.param([float("nan")], "int64", "nan", id="NaN is no integer"),
        pytest.param(["x", "1", "y"], "int64", "2 of 3 values are no int64: 'x', 'y'", id="text that is no number"),
        pytest.param(["maybe"], "boolean", "'maybe'", id="text that is no boolean"),
        pytest.param([3], "boolean", "got Int64, wanted boolean", id="numbers are no booleans"),
        pytest.param([[1]], "int64", "got List.Int64., wanted int64", id="lists are no integers"),
        pytest.param([datetime.fromisoformat("2013-01-02T03:00")], "date", "2013", id="times of day are not cut"),
        pytest.param(["2013-13-01"], "date", "2013-13-01", id="no such month"),
        pytest.param(["noon"], "timestamp", "noon", id="text that is no time"),
    ],
)
def test_conform_refuses_what_would_lose(values: list[Any], kind: str, says: str) -> None:
    with pytest.raises(TaskFailed, match=says) as failure:
        conform(pl.DataFrame({"c": values}), [column(kind)], "d")
    assert failure.value.kind == "SchemaMismatch"
    assert "column c of dataset d" in str(failure.value)


def test_conform_names_missing_and_undeclared_columns() -> None:
    with pytest.raises(TaskFailed, match="missing c; not declared x, y"):
        conform(pl.DataFrame({"x": [1], "y": [1]}), [column("int64")], "d")
    assert conform(pl.DataFrame({"x": [1], "c": [1]}), [column("int64")], "d", extra=True).columns == ["c"]


def test_conform_refuses_nulls_where_none_may_be() -> None:
    with pytest.raises(TaskFailed, match="1 of 2 rows") as failure:
        conform(pl.DataFrame({"c": [1, None]}), [column("int64", nullable=False)], "d")
    assert failure.value.kind == "NullViolation"


@pytest.mark.parametrize(
    ("rows", "kind", "expected"),
    [
        pytest.param([{"c": 1}, {"c": 1.5}, {}], "float64", [1.0, 1.5, None], id="mixed numbers, a key missing"),
        pytest.param([{"c": {"a": "é"}}, {"c": "x"}], "json", ['{"a":"é"}', '"x"'], id="any value as JSON"),
        pytest.param([{"c": "2013-07-01T12:00:00Z"}], "timestamp", [NOON], id="times as JSON has them"),
        pytest.param([{"c": NOON}], "timestamp", [NOON], id="datetimes"),
        pytest.param([{"c": 5}, {"c": 6}], "string", ["5", "6"], id="numbers as text"),
    ],
)
def test_rows(rows: list[dict[str, Any]], kind: str, expected: list[Any]) -> None:
    columns = [column(kind)]
    assert conform(rows_frame(rows, columns, "d"), columns, "d")["c"].to_list() == expected


def test_rows_of_mixed_kinds_are_refused() -> None:
    with pytest.raises(TaskFailed, match="got int, str, wanted int64"):
        rows_frame([{"c": 1}, {"c": "x"}], [column("int64")], "d")
    with pytest.raises(TaskFailed, match="row 1 for dataset d is list"):
        rows_frame([{"c": 1}, []], [column("int64")], "d")  # type: ignore[list-item]


def test_schema_hash_follows_names_and_types() -> None:
    assert schema_hash([column("int64")]) == schema_hash([column("int64", nullable=False)])
    assert schema_hash([column("int64")]) != schema_hash([column("int32")])
