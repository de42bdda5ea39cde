"""The Dataset: a hot table in Postgres or cold Parquet files in the object store."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from crds.meta import Alias, Model, Resource, Status
from crds.quantities import Duration, format_duration

# Every table of Postgres has them (https://www.postgresql.org/docs/15/ddl-system-columns.html).
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})

MIN_WITHIN = timedelta(seconds=1)


class Tier(StrEnum):
    """Where a dataset lives."""

    HOT = "hot"
    COLD = "cold"


class ColumnType(StrEnum):
    """Column types, common to Postgres and Parquet."""

    BOOLEAN = "boolean"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT64 = "float64"
    STRING = "string"
    DATE = "date"
    TIMESTAMP = "timestamp"
    JSON = "json"


class Column(Model):
    """One column."""

    name: Alias
    type: ColumnType
    nullable: bool = True
    description: Annotated[str, Field(max_length=1_000)] = ""


class Freshness(Model):
    """How old a dataset may grow."""

    within: Duration = Field(description="It is stale when no task has committed to it for so long.")

    @model_validator(mode="after")
    def _positive(self) -> Freshness:
        if self.within < MIN_WITHIN:
            raise ValueError(f"within {format_duration(self.within)} is below {format_duration(MIN_WITHIN)}")
        return self


class DatasetSpec(Model):
    """What a dataset holds. Hot: a Postgres table. Cold: Parquet, partitioned by the values of columns."""

    description: Annotated[str, Field(max_length=10_000)] = ""
    tier: Tier
    columns: tuple[Column, ...] = Field(min_length=1, max_length=1_000)
    unique_key: tuple[Alias, ...] = Field(default=(), max_length=32, description="Columns that `merge` matches on.")
    partition_by: tuple[Alias, ...] = Field(default=(), max_length=4, description="Cold only.")
    freshness: Freshness | None = None

    @model_validator(mode="after")
    def _columns(self) -> DatasetSpec:
        names = [column.name for column in self.columns]
        problems = [f"column {n!r} appears twice" for n in sorted({n for n in names if names.count(n) > 1})]
        problems += [f"{n!r} is no column" for n in (*self.unique_key, *self.partition_by) if n not in names]
        if self.tier is Tier.HOT:
            problems += [f"column {n!r} has a name of Postgres's own" for n in names if n in SYSTEM_COLUMNS]
        if self.tier is Tier.HOT and self.partition_by:
            problems.append("a hot dataset has no partitionBy")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class DatasetStatus(Status):
    """What was observed of a dataset; `rows` of a hot table is Postgres's estimate."""

    version: int = 0
    rows: int = 0
    bytes: int = 0
    partitions: int = 0
    files: int = 0
    location: str = ""
    last_run: str | None = None
    updated_at: datetime | None = None
    fresh_until: datetime | None = None


class Dataset(Resource):
    """A named table that tasks read and write."""

    kind: Literal["Dataset"]
    spec: DatasetSpec
    status: DatasetStatus | None = None
