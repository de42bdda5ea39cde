"""Metrics that are declared once: made for Prometheus, listed for the documents, marked for CloudWatch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prometheus_client import CollectorRegistry

POOL = "pool"
"""The one label that is a dimension in CloudWatch."""


class Cloud(StrEnum):
    """What a metric is in CloudWatch; every label but `pool` is summed away, of gauges marked MAX the greatest counts."""

    SYSTEM = "env"
    POOL = "env, pool"
    SYSTEM_MAX = "env (greatest)"

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Return the names of its dimensions."""
        return ("env", POOL) if self is Cloud.POOL else ("env",)


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric as it was declared. `name`: its family's, of a counter without `_total`. `fleet`: the leader alone has it."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...]
    cloud: Cloud | None
    fleet: bool = False

    @property
    def sample(self) -> str:
        """Return the name under which Prometheus and CloudWatch show it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    @property
    def unit(self) -> str:
        """Return its unit, one of CloudWatch's."""
        if "_seconds" in self.name:
            return "Seconds"
        return "None" if self.name.endswith("_utilization") else "Count"


Values = "Mapping[str, Mapping[tuple[str, ...], float]]"


class Instruments:
    """Makes the metrics of one program in one registry, and remembers how each was declared."""

    def __init__(self, registry: CollectorRegistry, *, of_pool: bool = False) -> None:
        """`of_pool`: all of it is of one pool, so that no label says which."""
        # When a counter began is a third of all lines, and nobody reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self.of_pool = of_pool
        self.declared: list[Declared] = []

    def counter(self, name: str, text: str, *labels: str, cloud: Cloud | None = None) -> Counter:
        """Declare a counter; without labels it begins at 0, with labels at its first event."""
        self._add(name, "counter", text, labels, cloud)
        return Counter(name, text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, *labels: str, cloud: Cloud | None = None) -> Gauge:
        """Declare a gauge of this process."""
        self._add(name, "gauge", text, labels, cloud)
        return Gauge(name, text, labels, registry=self.registry)

    def histogram(
        self, name: str, text: str, *labels: str, buckets: Sequence[float], cloud: Cloud | None = None
    ) -> Histogram:
        """Declare a histogram of seconds."""
        self._add(name, "histogram", text, labels, cloud)
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def fleet(self, name: str, text: str, *labels: str, kind: str = "gauge", cloud: Cloud | None = None) -> str:
        """Declare a metric that only the leader's sample has, and return its name."""
        self._add(name, kind, text, labels, cloud, fleet=True)
        return name

    def _add(
        self, name: str, kind: str, text: str, labels: Sequence[str], cloud: Cloud | None, *, fleet: bool = False
    ) -> None:
        if cloud is Cloud.POOL and POOL not in labels and not self.of_pool:
            raise ValueError(f"{name} has labels, and no pool among them")
        self.declared.append(Declared(name, kind, text, tuple(labels), cloud, fleet))


class Fleet(Collector):
    """The metrics of the last sample; none while there is none, so that what a standby does not know is not shown as 0."""

    def __init__(self, instruments: Instruments) -> None:
        self._declared = {d.name: d for d in instruments.declared if d.fleet}
        self._values: Mapping[str, Mapping[tuple[str, ...], float]] = {}
        self._lock = Lock()
        instruments.registry.register(self)

    def show(self, values: Mapping[str, Mapping[tuple[str, ...], float]]) -> None:
        """Replace the sample: metric → label values → value. Raise KeyError for a metric that was not declared."""
        unknown = values.keys() - self._declared.keys()
        if unknown:
            raise KeyError(f"not declared: {sorted(unknown)}")
        with self._lock:
            self._values = values

    def hide(self) -> None:
        """Forget the sample."""
        self.show({})

    def describe(self) -> Iterable[Metric]:
        """Name the families without a sample."""
        return [self._family(declared) for declared in self._declared.values()]

    def collect(self) -> Iterable[Metric]:
        """Yield the families of the last sample."""
        with self._lock:
            values = self._values
        found = []
        for name, by_labels in values.items():
            family = self._family(self._declared[name])
            sample = self._declared[name].sample
            for labels, value in by_labels.items():
                family.add_sample(sample, dict(zip(self._declared[name].labels, labels, strict=True)), value)
            found.append(family)
        return found

    @staticmethod
    def _family(declared: Declared) -> Metric:
        if declared.kind == "gauge":
            return GaugeMetricFamily(declared.name, declared.text, labels=declared.labels)
        return Metric(declared.name, declared.text, declared.kind)
