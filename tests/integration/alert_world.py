"""What Prometheus and CloudWatch make of expositions: the rules run by promtool, the alarms by a few lines of arithmetic."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from controller.monitoring.__main__ import GENERATED, TERRAFORM
from controller.monitoring.cloudwatch import kebab
from controller.monitoring.model import load
from tests.promtool import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

ALERTS = load().alerts
CALM_MINUTES, AFTER_MINUTES = 20, 60
"""Calm lasts longer than any alert must hold, so that silence means something; a test compares."""
RULES = GENERATED / "prometheus-rules.yaml"
ALARMS: dict[str, dict[str, Any]] = json.loads((TERRAFORM / "alarms.json").read_text(encoding="utf-8"))
COUNTERS = {alert.rises.metric for alert in ALERTS if alert.rises}

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]
_OF_RULES = re.compile(r"^(setpoint|controller_runtime|workqueue|leader_election|operator|aws_sdk)_")


def scrape() -> Series:
    """Return what Prometheus would read now."""
    found: Series = {}
    for family in text_string_to_metric_families(generate_latest(REGISTRY).decode()):
        for sample in family.samples:
            if _OF_RULES.match(sample.name) and not sample.name.endswith(("_created", "_bucket")):
                found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def firing(calm: Series, after: Series, folder: Path) -> tuple[set[str], set[str]]:
    """Return the alerts that fire on the calm samples, and those that fire after them, by promtool."""
    minute = CALM_MINUTES + 40
    fired: list[set[str]] = []
    for at in (CALM_MINUTES, minute):
        tests = [{"alertname": f"Setpoint{alert.name}", "eval_time": f"{at}m", "exp_alerts": []} for alert in ALERTS]
        document = {
            "rule_files": [str(RULES)],
            "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": list(_series(calm, after)), "alert_rule_test": tests}],
        }
        path = folder / f"at-{at}.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        said = run("test", "rules", str(path))
        output = said.stdout + said.stderr
        fired.append(set(re.findall(r"alertname:Setpoint(\w+)", output.replace(" ", ""))))
        assert fired[-1] or said.returncode == 0, output
    return fired[0], fired[1]


def _series(calm: Series, after: Series) -> Iterable[dict[str, str]]:
    for name, labels in sorted(calm.keys() | after.keys()):
        text = ",".join(f'{key}="{value}"' for key, value in labels)
        before, now = calm.get((name, labels)), after.get((name, labels))
        values = f"_x{CALM_MINUTES}" if before is None else f"{before:g}x{CALM_MINUTES}"
        if now is None:
            values += f" stale _x{AFTER_MINUTES}"
        elif name in COUNTERS:
            # The cause goes on: each minute brings as much again.
            values += f" {now:g}+{now - (before or 0):g}x{AFTER_MINUTES}"
        else:
            values += f" {now:g}x{AFTER_MINUTES}"
        yield {"series": f"{name}{{{text}}}", "values": values}


def alarming(lines: Sequence[bytes], pool: str | None = None) -> set[str]:
    """Return the names of the alarms that go off if each period brings these lines; of a pool, or of the system."""
    values: dict[str, float] = {}
    for line in lines:
        told = json.loads(line)
        if told.get("pool") == pool:
            values |= {m["Name"]: told[m["Name"]] for m in told["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    per = "system" if pool is None else "pool"
    return {name for name, alarm in ALARMS.items() if alarm["per"] == per and _breaches(alarm, values)}


def alarm_of(alert: str) -> str | None:
    """Return the alarm of an alert, None if CloudWatch has none."""
    return kebab(alert) if kebab(alert) in ALARMS else None


def _breaches(alarm: Mapping[str, Any], values: Mapping[str, float]) -> bool:
    if "metric" in alarm:
        value = values.get(alarm["metric"])
    else:
        named = {id_: values.get(metric) for id_, metric in alarm["queries"].items()}
        value = None if None in named.values() else float(_holds(alarm["expression"], named))
    if value is None:
        return bool(alarm["missing"] == "breaching")
    return {
        "GreaterThanThreshold": value > alarm["threshold"],
        "GreaterThanOrEqualToThreshold": value >= alarm["threshold"],
        "LessThanThreshold": value < alarm["threshold"],
    }[alarm["comparison"]]


def _holds(expression: str, values: Mapping[str, Any]) -> bool:
    """Evaluate `IF(a >= b AND c > 1, 1, 0)`, the one form of metric math that the definitions make."""
    inner = re.fullmatch(r"IF\((.+), 1, 0\)", expression)
    assert inner, expression
    return all(_compare(part.split(), values) for part in inner[1].split(" AND "))


def _compare(words: Sequence[str], values: Mapping[str, Any]) -> bool:
    left, op, right = words
    a, b = values[left], values[right] if right in values else float(right)
    return {">": a > b, ">=": a >= b, "<": a < b}[op]
