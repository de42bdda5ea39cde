"""The rules of Prometheus, made from the definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from controller.monitoring.model import Per

if TYPE_CHECKING:
    from controller.monitoring.model import Alert, Comparison, Definitions

RUNBOOK = "docs/alerts.md"


def rules(definitions: Definitions) -> str:
    """Return the file of rules."""
    group = {"name": "setpoint", "rules": [_rule(alert) for alert in definitions.alerts]}
    head = "# Made by `python -m controller.monitoring` from definitions.yaml.\n"
    dumped: str = yaml.safe_dump({"groups": [group]}, sort_keys=False, width=130, allow_unicode=True)
    return head + dumped


def expression(alert: Alert) -> str:
    """Return the condition of an alert in PromQL."""
    if alert.promql is not None:
        return alert.promql
    by = " by (pool) " if alert.per is Per.POOL else ""
    if alert.rises is not None:
        return f"sum{by}(increase({alert.rises.metric}[{alert.rises.over}m])) > {alert.rises.than:g}"
    found = " and ".join(_comparison(comparison, by) for comparison in alert.when)
    return f"({found}) or absent({alert.when[0].metric})" if alert.absent else found


def _comparison(comparison: Comparison, by: str) -> str:
    left = f"{comparison.fold}{by}({comparison.metric})"
    right = f"{comparison.fold}{by}({comparison.other})" if comparison.other else f"{comparison.than:g}"
    return f"{left} {comparison.op} {right}"


def _rule(alert: Alert) -> dict[str, object]:
    about = "{{ $labels.pool }}: " if alert.per is Per.POOL else ""
    return {
        "alert": f"Setpoint{alert.name}",
        "expr": expression(alert),
        **({"for": f"{alert.minutes}m"} if alert.minutes else {}),
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": about + alert.means,
            "description": alert.action,
            "runbook": f"{RUNBOOK}#{alert.name.lower()}",
        },
    }
