"""The definitions of alerts and of the dashboard, read from definitions.yaml."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

FILE = Path(__file__).with_name("definitions.yaml")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Per(StrEnum):
    """What an alert is about: the whole system, or each pool."""

    SYSTEM = "system"
    POOL = "pool"


class Comparison(_Model):
    """A gauge, folded over replicas and labels, compared with a number or with another gauge."""

    metric: str
    fold: Literal["max", "sum"] = "max"
    op: Literal[">", ">=", "<"]
    than: float | None = None
    other: str | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Comparison:
        if (self.than is None) == (self.other is None):
            raise ValueError("a comparison has either than or other")
        return self


class Rise(_Model):
    """A counter that rose by more than a number within minutes."""

    metric: str
    over: Annotated[int, Field(ge=1, le=60)]
    than: float


class Alert(_Model):
    """One alert. `minutes`: for how long it must hold. `absent`: no data is an alert as well."""

    name: str
    severity: Literal["critical", "warning"]
    per: Per = Per.SYSTEM
    minutes: Annotated[int, Field(ge=0, le=60)]
    when: tuple[Comparison, ...] = ()
    rises: Rise | None = None
    promql: str | None = None
    absent: bool = False
    means: str
    action: str

    @model_validator(mode="after")
    def _one_condition(self) -> Alert:
        if sum((bool(self.when), self.rises is not None, self.promql is not None)) != 1:
            raise ValueError(f"{self.name} has exactly one of when, rises and promql")
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the metrics that its comparisons name."""
        compared = [name for c in self.when for name in (c.metric, c.other) if name]
        return (*compared, *((self.rises.metric,) if self.rises else ()))


class Query(_Model):
    """A line, or one for each value of a label. `quantiles`: p50 and p99 of a histogram."""

    metric: str
    how: Literal["last", "sum", "rate", "increase", "quantiles"]
    by: str | None = None
    legend: str | None = None


class Panel(_Model):
    """One picture."""

    title: str
    kind: Literal["timeseries", "stat"] = "timeseries"
    unit: str = "short"
    queries: tuple[Query, ...]


class Row(_Model):
    """Pictures that belong together."""

    title: str
    panels: tuple[Panel, ...]


class Definitions(_Model):
    """All of it."""

    alerts: tuple[Alert, ...]
    dashboard: tuple[Row, ...]


def load(file: Path = FILE) -> Definitions:
    """Return the definitions; raise ValidationError for what cannot be."""
    return Definitions.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
