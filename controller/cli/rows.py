"""Objects as rows of a table, one function a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.cli.text import age, between, size

if TYPE_CHECKING:
    from datetime import datetime

Object = Mapping[str, Any]
_FINAL = {"Succeeded", "Failed", "UpstreamFailed", "Skipped", "Cancelled"}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a kind; `wide` ones come behind."""

    headers: tuple[str, ...]
    row: Callable[[Object, datetime], Sequence[str]]
    wide_headers: tuple[str, ...] = ()
    wide_row: Callable[[Object], Sequence[str]] = lambda _: ()


def cells(plural: str, item: Object, now: datetime, *, wide: bool = False) -> list[str]:
    """Return the cells of one object."""
    columns = COLUMNS[plural]
    return [*columns.row(item, now), *(columns.wide_row(item) if wide else ())]


def headers(plural: str, *, wide: bool = False) -> list[str]:
    """Return the headers of a kind."""
    columns = COLUMNS[plural]
    return [*columns.headers, *(columns.wide_headers if wide else ())]


def _dag(item: Object, now: datetime) -> Sequence[str]:
    spec, status = item["spec"], item["status"]
    return (
        item["metadata"]["name"],
        status["phase"],
        str(status["revision"]),
        str(len(spec["tasks"])),
        str(status["activeRuns"]),
        status.get("lastPhase") or "-",
        status.get("nextTick", "-").replace("T", " ").removesuffix("Z"),
        age(item["metadata"]["creationTimestamp"], now),
    )


def _dag_wide(item: Object) -> Sequence[str]:
    schedules = ", ".join(f"{s['cron']} {s.get('timezone', 'UTC')}" for s in item["spec"].get("schedules", ()))
    return schedules or "-", (item["spec"].get("bundle") or "-")[:12], item["status"].get("lastRun") or "-"


def _run(item: Object, now: datetime) -> Sequence[str]:
    spec, status = item["spec"], item["status"]
    tasks = status.get("tasks", {})
    done = sum(n for phase, n in tasks.items() if phase in _FINAL)
    phase = "Suspended" if spec.get("suspend") and status["phase"] == "Running" else status["phase"]
    return (
        item["metadata"]["name"],
        spec["dag"],
        str(spec["revision"]),
        phase,
        f"{done}/{sum(tasks.values())}" if tasks else "-",
        between(status.get("startedAt"), status.get("endedAt"), now),
        age(item["metadata"]["creationTimestamp"], now),
    )


def _run_wide(item: Object) -> Sequence[str]:
    spec, status = item["spec"], item["status"]
    trigger = f"{spec['trigger']} {spec.get('schedule', '')}".strip()
    params = " ".join(f"{key}={value}" for key, value in spec.get("params", {}).items())
    return trigger, params or "-", status.get("message") or status.get("reason") or "-"


def _task(item: Object, now: datetime) -> Sequence[str]:
    status, attempts = item["status"], item["status"].get("attempts", ())
    last = attempts[-1] if attempts else {}
    phase = last["phase"] if status["phase"] == "Active" and last else status["phase"]
    reason = status.get("reason") or ""
    return (
        item["metadata"]["name"],
        item["spec"]["pool"],
        phase,
        str(last.get("number", 0)),
        between(status.get("startedAt"), status.get("endedAt"), now),
        "" if reason == phase else reason,
    )


def _task_wide(item: Object) -> Sequence[str]:
    attempts = item["status"].get("attempts", ())
    worker = attempts[-1].get("worker") if attempts else None
    return worker or "-", (item["status"].get("message") or "-").split("\n", 1)[0][:100]


def _pool(item: Object, now: datetime) -> Sequence[str]:
    spec, status = item["spec"], item["status"]
    return (
        item["metadata"]["name"],
        spec["runtime"],
        status["phase"],
        f"{status['running']}/{status['desired']}",
        f"{status['live']}/{spec['slots'] * spec['maxTasks']}",
        str(status["demand"]),
        age(item["metadata"]["creationTimestamp"], now),
    )


def _pool_wide(item: Object) -> Sequence[str]:
    status = item["status"]
    return (
        item["spec"].get("queue") or f"setpoint-{item['metadata']['name']}.fifo",
        str(status["visible"]),
        str(status["inFlight"]),
        str(status["deadLetters"]),
    )


def _dataset(item: Object, now: datetime) -> Sequence[str]:
    status = item["status"]
    return (
        item["metadata"]["name"],
        item["spec"]["tier"],
        f"{status['rows']:,}",
        size(status["bytes"]),
        str(status["partitions"]) if item["spec"]["tier"] == "cold" else "-",
        str(status["version"]),
        _holds(status, "Fresh"),
        age(item["metadata"]["creationTimestamp"], now),
    )


def _dataset_wide(item: Object) -> Sequence[str]:
    status = item["status"]
    return str(status["files"]), status["location"], status.get("lastRun") or "-"


def _holds(status: Object, condition: str) -> str:
    return next((str(c["status"]) for c in status["conditions"] if c["type"] == condition), "-")


def _notifier(item: Object, now: datetime) -> Sequence[str]:
    spec, status = item["spec"], item["status"]
    return (
        item["metadata"]["name"],
        next((channel for channel in ("slack", "sns", "email") if spec.get(channel)), "-"),
        status["phase"],
        str(status["pending"]),
        age(status["lastSent"], now) if status.get("lastSent") else "-",
        age(item["metadata"]["creationTimestamp"], now),
    )


def _notifier_wide(item: Object) -> Sequence[str]:
    labels = item["spec"].get("selector", {}).get("matchLabels", {})
    chosen = ",".join(f"{key}={value}" for key, value in labels.items())
    return ",".join(item["spec"]["on"]), chosen or "-", item["status"].get("lastError") or "-"


COLUMNS: Mapping[str, Columns] = {
    "dags": Columns(
        ("NAME", "PHASE", "REVISION", "TASKS", "ACTIVE", "LAST", "NEXT RUN (UTC)", "AGE"),
        _dag,
        ("SCHEDULES", "BUNDLE", "LAST RUN"),
        _dag_wide,
    ),
    "dagruns": Columns(
        ("NAME", "DAG", "REVISION", "PHASE", "TASKS", "DURATION", "AGE"),
        _run,
        ("TRIGGER", "PARAMS", "REASON"),
        _run_wide,
    ),
    "taskruns": Columns(
        ("NAME", "POOL", "PHASE", "ATTEMPT", "DURATION", "REASON"), _task, ("WORKER", "MESSAGE"), _task_wide
    ),
    "workerpools": Columns(
        ("NAME", "RUNTIME", "PHASE", "WORKERS", "SLOTS", "DEMAND", "AGE"),
        _pool,
        ("QUEUE", "VISIBLE", "IN FLIGHT", "DEAD LETTERS"),
        _pool_wide,
    ),
    "datasets": Columns(
        ("NAME", "TIER", "ROWS", "SIZE", "PARTITIONS", "VERSION", "FRESH", "AGE"),
        _dataset,
        ("FILES", "LOCATION", "LAST RUN"),
        _dataset_wide,
    ),
    "notifiers": Columns(
        ("NAME", "CHANNEL", "PHASE", "PENDING", "LAST SENT", "AGE"),
        _notifier,
        ("ON", "SELECTOR", "LAST ERROR"),
        _notifier_wide,
    ),
}
