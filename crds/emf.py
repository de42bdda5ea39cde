"""CloudWatch's Embedded Metric Format: lines of JSON in the log that CloudWatch turns into metrics, made from a registry.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from crds.instruments import POOL, Cloud

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.core import Metric
    from prometheus_client.samples import Sample

    from crds.instruments import Declared, Instruments

NAMESPACE = "Setpoint"
METRICS_A_LINE = 100
"""The specification's limit."""

Dimensions = tuple[tuple[str, str], ...]
Value = float | dict[str, Any]


def line(units: Mapping[str, str], dimensions: Mapping[str, str], values: Mapping[str, Value], at: float) -> bytes:
    """Return one line that carries a value for each metric; raise KeyError if one is missing. `at`: Unix seconds."""
    about: dict[str, Any] = {
        "Timestamp": int(at * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": NAMESPACE,
                "Dimensions": [list(dimensions)],
                "Metrics": [{"Name": name, "Unit": unit} for name, unit in units.items()],
            }
        ],
    }
    return msgspec.json.encode({"_aws": about, **dimensions, **{name: values[name] for name in units}})


class Exporter:
    """Tells CloudWatch what a registry tells Prometheus: gauges as they are, of the rest what came since the last time.

    The only dimensions are the environment and the pool: each further one multiplies what CloudWatch charges for.
    """

    def __init__(self, instruments: Instruments, environment: str, pool: str | None = None) -> None:
        """`pool`: the pool of a worker, whose metrics carry no such label."""
        self._instruments = instruments
        self._declared = {d.name: d for d in instruments.declared if d.cloud is not None}
        self._environment = environment
        self._pool = pool
        self._last: dict[tuple[str, Dimensions, str], float] = {}

    def lines(self, at: float) -> list[bytes]:
        """Return the lines since the last call, one for each set of dimensions; what did not happen is left out."""
        by_dimensions: dict[Dimensions, dict[str, Value]] = {}
        for family in self._instruments.registry.collect():
            declared = self._declared.get(family.name)
            if declared is not None:
                for dimensions, value in self._values(declared, family):
                    by_dimensions.setdefault(dimensions, {})[declared.sample] = value
        return [
            encoded for dimensions, values in by_dimensions.items() for encoded in self._encode(dimensions, values, at)
        ]

    def _encode(self, dimensions: Dimensions, values: Mapping[str, Value], at: float) -> Iterator[bytes]:
        units = {d.sample: d.unit for d in self._declared.values()}
        names = list(values)
        for first in range(0, len(names), METRICS_A_LINE):
            some = {name: units[name] for name in names[first : first + METRICS_A_LINE]}
            yield line(some, dict(dimensions), values, at)

    def _values(self, declared: Declared, family: Metric) -> Iterator[tuple[Dimensions, Value]]:
        match declared.kind:
            case "gauge":
                yield from self._gauge(declared, family.samples)
            case "counter":
                for dimensions, total in self._sums(declared, family.samples, f"{declared.name}_total").items():
                    if risen := self._risen(declared.sample, dimensions, "", total):
                        yield dimensions, risen
            case _:
                yield from self._histogram(declared, family.samples)

    def _gauge(self, declared: Declared, samples: Iterable[Sample]) -> Iterator[tuple[Dimensions, Value]]:
        found: dict[Dimensions, float] = {}
        for sample in samples:
            key = self._dimensions(declared, sample)
            before = found.get(key)
            if before is None:
                found[key] = sample.value
            else:
                found[key] = max(before, sample.value) if declared.cloud is Cloud.SYSTEM_MAX else before + sample.value
        yield from found.items()

    def _histogram(self, declared: Declared, samples: Iterable[Sample]) -> Iterator[tuple[Dimensions, Value]]:
        """Yield how often each bucket was hit; a value stands for its bucket by the bucket's upper bound."""
        sums = self._sums(declared, samples, f"{declared.name}_sum")
        buckets: dict[Dimensions, dict[float, float]] = {}
        for sample in samples:
            if sample.name == f"{declared.name}_bucket":
                mine = buckets.setdefault(self._dimensions(declared, sample), {})
                bound = float(sample.labels["le"])
                mine[bound] = mine.get(bound, 0.0) + sample.value
        for dimensions, cumulative in buckets.items():
            hits = self._hits(declared, dimensions, cumulative)
            total = self._risen(declared.sample, dimensions, "sum", sums.get(dimensions, 0.0))
            if hits:
                yield (
                    dimensions,
                    {
                        "Values": list(hits),
                        "Counts": list(hits.values()),
                        "Min": min(hits),
                        "Max": max(hits),
                        "Count": sum(hits.values()),
                        "Sum": total,
                    },
                )

    def _hits(
        self, declared: Declared, dimensions: Dimensions, cumulative: Mapping[float, float]
    ) -> dict[float, float]:
        hits: dict[float, float] = {}
        below, last = 0.0, 0.0
        for bound, count in sorted(cumulative.items()):
            # What is beyond the last bound is shown as that bound: there is no greater number.
            shown = bound if bound != float("inf") else last
            risen = self._risen(declared.sample, dimensions, str(bound), count - below)
            if risen:
                hits[shown] = hits.get(shown, 0.0) + risen
            below, last = count, shown
        return hits

    def _sums(self, declared: Declared, samples: Iterable[Sample], name: str) -> dict[Dimensions, float]:
        found: dict[Dimensions, float] = {}
        for sample in samples:
            if sample.name == name:
                key = self._dimensions(declared, sample)
                found[key] = found.get(key, 0.0) + sample.value
        return found

    def _risen(self, name: str, dimensions: Dimensions, part: str, value: float) -> float:
        key = (name, dimensions, part)
        before, self._last[key] = self._last.get(key, 0.0), value
        return value - before

    def _dimensions(self, declared: Declared, sample: Sample) -> Dimensions:
        if declared.cloud is Cloud.POOL:
            return (("env", self._environment), (POOL, self._pool or sample.labels[POOL]))
        return (("env", self._environment),)
