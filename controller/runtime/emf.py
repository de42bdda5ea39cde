"""CloudWatch's Embedded Metric Format: a line of JSON in the log that CloudWatch turns into metrics.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

NAMESPACE = "Setpoint"
COUNT, NONE = "Count", "None"

POOL_METRICS: Mapping[str, str] = {
    "setpoint_pool_demand": COUNT,
    "setpoint_pool_desired_tasks": COUNT,
    "setpoint_pool_running_tasks": COUNT,
    "setpoint_pool_max_tasks": COUNT,
    "setpoint_pool_utilization": NONE,
    "setpoint_queue_visible": COUNT,
    "setpoint_queue_in_flight": COUNT,
    "setpoint_queue_dead_letters": COUNT,
    "setpoint_attempts_undeliverable": COUNT,
}
"""What is published of each pool, with its unit; dimensions env and pool."""
SYSTEM_METRICS: Mapping[str, str] = {
    "setpoint_leader": COUNT,
    "setpoint_runs_failed": COUNT,
    "setpoint_invariant_violations": COUNT,
}
"""What is published of the system, with its unit; dimension env."""


def line(
    metrics: Mapping[str, str], dimensions: Mapping[str, str], values: Mapping[str, float], now: datetime
) -> bytes:
    """Return one line that carries a value for each metric; raise KeyError if one is missing."""
    about: dict[str, Any] = {
        "Timestamp": int(now.timestamp() * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": NAMESPACE,
                "Dimensions": [list(dimensions)],
                "Metrics": [{"Name": name, "Unit": unit} for name, unit in metrics.items()],
            }
        ],
    }
    return msgspec.json.encode({"_aws": about, **dimensions, **{name: values[name] for name in metrics}})


def utilization(demand: int, desired: int, slots: int) -> float:
    """Return a pool's demand over what its desired tasks can run at once, which target tracking holds at 1."""
    return demand / (desired * slots) if desired else float(demand)
