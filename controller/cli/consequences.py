"""What follows from an edit of a DAG: for its runs, its schedules, its tasks, and what those work with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from crds.cron import CronError, ticks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from controller.cli.client import Client

RUNS_NAMED = 10
TICKS_SHOWN = 3
# Far enough for a schedule that ticks once a leap year.
HORIZON = timedelta(days=366 * 5)
_TASK = re.compile(r"spec\.tasks\[([^\]]+)\](.*)")

Object = Mapping[str, Any]


def of(client: Client, item: Object, document: Object) -> Iterator[str]:
    """Yield what follows from an edited DAG; `document` is what shall be applied."""
    generation_before = int(item["generation"]) - any(c["path"].startswith("spec") for c in item["changes"])
    if item["kind"] != "Dag" or generation_before == item["generation"]:
        return
    yield from _tasks(item["changes"], document)
    yield from _schedules(client, item, document)
    when = f"the next scheduled run ({item['nextTick']})" if item.get("nextTick") else "the next run"
    yield f"  {when} uses revision {item['revision']}"
    if item["activeRuns"]:
        yield f"  {item['activeRuns']} runs in progress keep their revision: {_runs(client, item)}"


def _runs(client: Client, item: Object) -> str:
    found = [
        run["metadata"]["name"]
        for phase in ("Running", "Pending")
        for run in client.get("dagruns", fieldSelector=f"dag={item['name']},phase={phase}", limit=RUNS_NAMED)["items"]
    ][:RUNS_NAMED]
    more = item["activeRuns"] - len(found)
    return ", ".join(found) + (f" and {more} more" if more > 0 else "")


def _tasks(changes: Sequence[Object], document: Object) -> Iterator[str]:
    added, removed, changed = dict[str, None](), dict[str, None](), dict[str, None]()
    for change in changes:
        match = _TASK.fullmatch(change["path"])
        if match is None:
            continue
        whole = not match[2]
        goes_to = added if whole and change["from"] is None else removed if whole and change["to"] is None else changed
        goes_to[match[1]] = None
    for what, some in (("new", added), ("changed", changed)):
        if some:
            yield f"  tasks {what}: {', '.join(some)}"
    if removed:
        yield f"  tasks that go: {', '.join(removed)}; runs in progress still run them, and their history stays"
    touched = [task for task in document["spec"]["tasks"] if task["name"] in added or task["name"] in changed]
    pools = sorted({task.get("pool") or task["runtime"] for task in touched})
    datasets = sorted({name for task in touched for name in _datasets(task)})
    for kind, used in (("pools", pools), ("datasets", datasets)):
        if used:
            yield f"  {kind} of these tasks: {', '.join(used)}"


def _datasets(task: Object) -> Iterator[str]:
    for side in ("inputs", "outputs"):
        for port in (task.get(side) or {}).values():
            if isinstance(port, dict) and port.get("dataset"):
                yield port["dataset"]


def _schedules(client: Client, item: Object, document: Object) -> Iterator[str]:
    if not any(change["path"].startswith("spec.schedules") for change in item["changes"]):
        return
    before = _by_name(client.get("dags", item["name"])["spec"])
    after = _by_name(document["spec"])
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        verb = "is new" if old is None else "goes" if new is None else "changes"
        yield f"  schedule {name} {verb}"
        for label, schedule in (("until now", old), ("then", new)):
            if schedule:
                yield f"    {label + ':':<10} {_next(schedule, client.now())}"


def _by_name(spec: Object) -> dict[str, Object]:
    return {schedule["name"]: schedule for schedule in spec.get("schedules") or ()}


def _next(schedule: Object, now: datetime) -> str:
    zone = schedule.get("timezone") or "UTC"
    try:
        found = ticks(schedule["cron"], zone, now, now + HORIZON, TICKS_SHOWN)
    except CronError as error:
        return f"{schedule['cron']} ({error})"
    times = ", ".join(f"{tick.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}" for tick in found)
    return f"{schedule['cron']} {zone}: {times or 'never'}"
