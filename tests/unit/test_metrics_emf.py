"""CloudWatch's lines are made from the registry: deltas, sums, percentiles; and what all of it costs."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from controller.runtime.metrics import INSTRUMENTS
from crds.emf import METRICS_A_LINE, Exporter
from crds.instruments import Cloud, Instruments
from crds.metrics_table import PAGE
from workers.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent.parent
METRICS_LIMIT = 150
METRIC_DOLLARS, INGESTION_DOLLARS = 0.30, 0.50
"""A metric and month, of the first 10,000; a GB of log. https://aws.amazon.com/cloudwatch/pricing/"""
LINES_A_MONTH = 30 * 24 * 3600 / 15


class Told:
    """A registry, and what CloudWatch heard of it, by pool."""

    def __init__(self) -> None:
        self.instruments = Instruments(CollectorRegistry())

    @cached_property
    def exporter(self) -> Exporter:
        """Made when all is declared."""
        return Exporter(self.instruments, "dev")

    def hear(self) -> dict[str | None, dict[str, Any]]:
        lines = [json.loads(line) for line in self.exporter.lines(1.5)]
        return {line.get("pool"): line for line in lines}


def test_a_counter_tells_what_came_since_the_last_line() -> None:
    told = Told()
    counter = told.instruments.counter("ended", "Ended.", "pool", "reason", cloud=Cloud.POOL)
    counter.labels("p", "a").inc(2)
    counter.labels("p", "b").inc(3)
    counter.labels("q", "a").inc()
    heard = told.hear()
    assert (heard["p"]["ended_total"], heard["q"]["ended_total"]) == (5, 1)
    assert told.hear() == {}
    counter.labels("p", "b").inc()
    assert {pool: line["ended_total"] for pool, line in told.hear().items()} == {"p": 1}


def test_a_gauge_is_summed_or_the_greatest() -> None:
    told = Told()
    summed = told.instruments.gauge("stale", "Stale.", "dataset", cloud=Cloud.SYSTEM)
    greatest = told.instruments.gauge("lag_seconds", "Lag.", "dag", cloud=Cloud.SYSTEM_MAX)
    for name, number in (("a", 3), ("b", 5)):
        summed.labels(name).set(number)
        greatest.labels(name).set(number)
    assert (told.hear()[None]["stale"], told.hear()[None]["lag_seconds"]) == (8, 5)


def test_a_histogram_tells_values_with_counts() -> None:
    told = Told()
    waits = told.instruments.histogram("wait_seconds", "Wait.", "pool", buckets=(1, 5), cloud=Cloud.POOL)
    for seconds in (0.5, 0.6, 3.0, 60.0):
        waits.labels("p").observe(seconds)
    wait = told.hear()["p"]["wait_seconds"]
    assert dict(zip(wait["Values"], wait["Counts"], strict=True)) == {1: 2, 5: 2}
    assert (wait["Min"], wait["Max"], wait["Count"], wait["Sum"]) == (1, 5, 4, pytest.approx(64.1))
    assert told.hear() == {}
    waits.labels("p").observe(4)
    assert told.hear()["p"]["wait_seconds"] == {"Values": [5], "Counts": [1], "Min": 5, "Max": 5, "Count": 1, "Sum": 4}


def test_a_line_says_what_the_specification_asks() -> None:
    told = Told()
    told.instruments.counter("ended", "Ended.", "pool", cloud=Cloud.POOL).labels("p").inc()
    told.instruments.gauge("unpublished", "Stays here.")
    line = told.hear()["p"]
    assert line["_aws"] == {
        "Timestamp": 1500,
        "CloudWatchMetrics": [
            {
                "Namespace": "Setpoint",
                "Dimensions": [["env", "pool"]],
                "Metrics": [{"Name": "ended_total", "Unit": "Count"}],
            }
        ],
    }
    assert (line["env"], line["pool"]) == ("dev", "p")
    assert "unpublished" not in line


def test_no_line_has_more_metrics_than_cloudwatch_reads() -> None:
    told = Told()
    for n in range(METRICS_A_LINE + 20):
        told.instruments.counter(f"c{n}", "Counted.", cloud=Cloud.SYSTEM).inc()
    sizes = [len(json.loads(line)["_aws"]["CloudWatchMetrics"][0]["Metrics"]) for line in told.exporter.lines(0)]
    assert sizes == [METRICS_A_LINE, 20]


def test_a_worker_says_its_pool_and_nothing_when_nothing_changed() -> None:
    metrics = Metrics()
    exporter = Exporter(metrics.instruments, "dev", "python")
    assert exporter.lines(0) == []
    metrics.attempts.labels("succeeded").inc()
    metrics.start_seconds.observe(0.02)
    (line,) = [json.loads(line) for line in exporter.lines(0)]
    assert (line["env"], line["pool"], line["setpoint_worker_attempts_total"]) == ("dev", "python", 1)
    assert line["setpoint_worker_start_seconds"]["Values"] == [0.025]
    assert exporter.lines(0) == []


def test_a_metric_without_a_pool_cannot_be_a_pools() -> None:
    with pytest.raises(ValueError, match="no pool among them"):
        Told().instruments.counter("c", "Counted.", "reason", cloud=Cloud.POOL)


def everything(declared: Instruments, pools: list[str], of: str | None = None) -> list[dict[str, Any]]:
    """Return the lines of a moment in which everything happened, in every pool."""
    own = Instruments(CollectorRegistry(), of_pool=of is not None)
    for one in declared.declared:
        if one.cloud is None:
            continue
        if one.kind == "histogram":
            made: Any = own.histogram(one.name, one.text, *one.labels, buckets=(0.1, 1, 10), cloud=one.cloud)
        else:
            made = (own.counter if one.kind == "counter" else own.gauge)(
                one.name, one.text, *one.labels, cloud=one.cloud
            )
        for pool in pools if "pool" in one.labels else [""]:
            child = made.labels(*[pool if label == "pool" else "x" for label in one.labels]) if one.labels else made
            (child.observe if one.kind == "histogram" else child.inc)(3)
    return [json.loads(line) for line in Exporter(own, "prod", of).lines(1.7e9)]


def test_what_it_costs_stands_on_the_page() -> None:
    documents = yaml.safe_load_all((ROOT / "dags" / "pools.yaml").read_text(encoding="utf-8"))
    pools = {one["metadata"]["name"]: one["spec"]["runtime"] for one in documents}
    lines = everything(INSTRUMENTS, list(pools))
    for pool, runtime in pools.items():
        lines += everything(Metrics().instruments, [], pool) if runtime != "lambda" else []
    metrics = {(m["Name"], line.get("pool")) for line in lines for m in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert len(metrics) < METRICS_LIMIT
    size = sum(len(json.dumps(line, separators=(",", ":"))) + 1 for line in lines)
    gigabytes = size * LINES_A_MONTH / 1e9
    said = (
        f"With the {len(pools)} pools of [dags/pools.yaml](../dags/pools.yaml) that is {len(metrics)} metrics, "
        f"${len(metrics) * METRIC_DOLLARS:.2f} a month\n"
        f"(${METRIC_DOLLARS:.2f} each), and at most {gigabytes:.1f} GB of log, ${gigabytes * INGESTION_DOLLARS:.2f} "
        f"(${INGESTION_DOLLARS:.2f} a GB): that much if everything happened\nin every pool in every 15 seconds of the month.\n"
    )
    assert said in PAGE.read_text(encoding="utf-8"), said
