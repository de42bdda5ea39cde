"""The alarms and the dashboard of CloudWatch, made from the definitions; Terraform fills in environment, region and pools."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from controller.monitoring.model import Per
from controller.runtime.metrics import INSTRUMENTS
from crds.emf import NAMESPACE
from crds.instruments import Cloud

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.monitoring.model import Alert, Comparison, Definitions, Panel, Query

ENVIRONMENT, REGION = "__ENVIRONMENT__", "__REGION__"
PERIOD = 60
WIDTH, HEIGHT = 6, 6
STATISTIC = "Maximum"
"""Of a gauge: each line is a whole sample, and of several within a period the greatest counts."""
_WORDS = {">": "GreaterThanThreshold", ">=": "GreaterThanOrEqualToThreshold", "<": "LessThanThreshold"}
_WORD = re.compile(r"(?<!^)(?=[A-Z])")

CLOUD = {d.sample: d.cloud for d in INSTRUMENTS.declared if d.cloud is not None}
"""What CloudWatch has of the dispatcher, by sample."""
WORKER_CLOUD = {"setpoint_worker_start_seconds": Cloud.POOL}
"""Of the workers' metrics those that the dashboard shows; a test compares."""


def has(alert: Alert) -> bool:
    """Tell whether CloudWatch has what an alert compares, by the dimensions that it is about."""
    wanted = {Cloud.POOL} if alert.per is Per.POOL else {Cloud.SYSTEM, Cloud.SYSTEM_MAX}
    return bool(alert.metrics) and all(CLOUD.get(metric) in wanted for metric in alert.metrics)


def alarms(definitions: Definitions) -> str:
    """Return the alarms as the Terraform module monitoring reads them."""
    found = {kebab(alert.name): _alarm(alert) for alert in definitions.alerts if has(alert)}
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


def dashboard(definitions: Definitions) -> str:
    """Return the widgets as the Terraform module reads them, with two words to replace."""
    return json.dumps(list(_widgets(definitions)), indent=2) + "\n"


def kebab(name: str) -> str:
    """Return a name in CloudWatch's manner: `no-leader`."""
    return _WORD.sub("-", name).lower()


def _alarm(alert: Alert) -> dict[str, Any]:
    about: dict[str, Any] = {
        "per": alert.per.value,
        "severity": alert.severity,
        "description": f"{alert.means} {alert.action}".replace("`", ""),
        "missing": "breaching" if alert.absent else "notBreaching",
        "periods": max(alert.minutes, 1),
        "period": PERIOD,
    }
    if alert.rises is not None:
        rise = alert.rises
        return about | {
            "periods": max(-(-alert.minutes // rise.over), 1),
            "period": rise.over * 60,
            "metric": rise.metric,
            "statistic": "Sum",
            "comparison": _WORDS[">"],
            "threshold": rise.than,
        }
    if len(alert.when) == 1 and alert.when[0].other is None:
        only = alert.when[0]
        return about | {
            "metric": only.metric,
            "statistic": STATISTIC,
            "comparison": _WORDS[only.op],
            "threshold": only.than,
        }
    return about | _together(alert.when)


def _together(when: tuple[Comparison, ...]) -> dict[str, Any]:
    """Return one expression that is 1 while all comparisons hold."""
    ids: dict[str, str] = {}
    parts = []
    for comparison in when:
        left = ids.setdefault(comparison.metric, f"m{len(ids)}")
        right = f"{comparison.than:g}" if comparison.other is None else ids.setdefault(comparison.other, f"m{len(ids)}")
        parts.append(f"{left} {comparison.op} {right}")
    return {
        "expression": f"IF({' AND '.join(parts)}, 1, 0)",
        "queries": {id_: metric for metric, id_ in ids.items()},
        "comparison": _WORDS[">"],
        "threshold": 0,
    }


def _widgets(definitions: Definitions) -> Iterator[dict[str, Any]]:
    for row in definitions.dashboard:
        panels = [(panel, lines) for panel in row.panels if (lines := list(_lines(panel)))]
        if panels:
            text = {"markdown": f"## {row.title}"}
            yield {"type": "text", "width": 24, "height": 1, "properties": text}
        for panel, lines in panels:
            yield {
                "type": "metric",
                "width": WIDTH,
                "height": HEIGHT,
                "properties": {
                    "title": panel.title,
                    "region": REGION,
                    "view": "singleValue" if panel.kind == "stat" else "timeSeries",
                    "period": PERIOD,
                    "yAxis": {"left": {"min": 0}},
                    "metrics": lines,
                },
            }


def _lines(panel: Panel) -> Iterator[list[Any]]:
    for number, query in enumerate(panel.queries):
        cloud = (CLOUD | WORKER_CLOUD).get(query.metric)
        if cloud is None:
            continue
        for statistic in _statistics(query):
            label = " ".join(part for part in (query.legend, statistic if query.how == "quantiles" else "") if part)
            if cloud is Cloud.POOL:
                # One line a pool, whichever there are.
                search = (
                    f'SEARCH(\'{{{NAMESPACE},env,pool}} MetricName="{query.metric}" env="{ENVIRONMENT}"\', '
                    f"'{statistic}', {PERIOD})"
                )
                yield [{"expression": search, "label": label, "id": f"e{number}{statistic.lower()}"}]
            else:
                more = {"stat": statistic, "label": label or query.metric}
                yield [NAMESPACE, query.metric, "env", ENVIRONMENT, more]


def _statistics(query: Query) -> tuple[str, ...]:
    match query.how:
        case "quantiles":
            return ("p50", "p99")
        case "rate" | "increase":
            return ("Sum",)
        case _:
            return ("Maximum",)
