"""`setpoint top`: pools, queues and runs by how busy they are, live on a terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import text
from controller.cli.errors import CliError, Exit, UnreachableError
from controller.cli.get import dump
from controller.cli.options import Namespace, Output, OutputOption, connect, output_of
from controller.cli.sorting import sorted_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.cli.client import Client

EVERY_SECONDS = 2.0
Row = dict[str, Any]
_HEADERS = {
    "pools": ("POOL", "RUNTIME", "TASKS", "BUSY", "SLOTS", "DEMAND", "BACKLOG", "PHASE"),
    "queues": ("QUEUE", "POOL", "VISIBLE", "IN FLIGHT", "DEAD LETTERS", "OLDEST WAIT"),
    "runs": ("PHASE", "RUNS", "TASKS", "OLDEST"),
}


def top(
    what: Annotated[str, typer.Argument(metavar="[pools|queues|runs]", help="What to show.")] = "pools",
    sort_by: Annotated[str | None, typer.Option("--sort-by", metavar="COLUMN", help="The largest first.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show one table, also on a terminal.")] = False,
    namespace: Namespace = None,
    output: OutputOption = None,
) -> None:
    """Show how busy pools, queues and runs are; until Ctrl-C on a terminal."""
    if what not in _HEADERS:
        raise CliError(f"top shows {', '.join(_HEADERS)}, not {what!r}", Exit.USAGE)
    client, form = connect(namespace), output_of(output)
    look = {"pools": _pools, "queues": _queues, "runs": _runs}[what]
    if form in {Output.JSON, Output.YAML}:
        text.out(dump({"kind": "Top", "of": what, "items": look(client)}, form))
    elif once or not sys.stdout.isatty():
        text.out(_table(what, look(client), sort_by))
    else:
        _live(lambda: _table(what, look(client), sort_by))


def _table(what: str, found: list[Row], sort_by: str | None) -> str:
    headers = _HEADERS[what]
    lines = [[_cell(header, row[_key(header)]) for header in headers] for row in found]
    return text.table(headers, sorted_rows(headers, lines, sort_by, largest_first=True), colour=text.coloured())


def _key(header: str) -> str:
    first, *rest = header.lower().split()
    return first + "".join(word.title() for word in rest)


def _cell(header: str, value: Any) -> str:
    if header in {"OLDEST", "OLDEST WAIT"}:
        return "-" if value is None else text.seconds(value)
    return str(value)


def _pools(client: Client) -> list[Row]:
    return [_pool(item) for item in client.items("workerpools")]


def _pool(item: Row) -> Row:
    spec, status = item["spec"], item["status"]
    return {
        "pool": item["metadata"]["name"],
        "runtime": spec["runtime"],
        "tasks": f"{status['running']}/{status['desired']}/{spec['maxTasks']}",
        "busy": status["live"],
        "slots": spec["slots"] * spec["maxTasks"],
        "demand": status["demand"],
        "backlog": max(status["demand"] - status["live"], 0),
        "phase": status["phase"],
    }


def _queues(client: Client) -> list[Row]:
    oldest: dict[str, float] = {}
    now = client.now()
    for phase in ("Ready", "Active"):
        for item in client.items("taskruns", fieldSelector=f"phase={phase}"):
            since = _waiting_since(item)
            if began := text.parse_time(since):
                pool = item["spec"]["pool"]
                oldest[pool] = max(oldest.get(pool, 0.0), (now - began).total_seconds())
    # A pool of functions is invoked; it has no queue.
    pools = [item for item in client.items("workerpools") if item["spec"]["runtime"] != "lambda"]
    return [_queue(item, oldest.get(item["metadata"]["name"])) for item in pools]


def _waiting_since(item: Row) -> str | None:
    """Return since when a task waits for a worker, None if it does not."""
    status, attempts = item["status"], item["status"].get("attempts", ())
    if status["phase"] == "Ready":
        return str(status.get("readyAt") or item["metadata"]["creationTimestamp"])
    if attempts and attempts[-1]["phase"] in {"Pending", "Queued"}:
        return str(attempts[-1]["createdAt"])
    return None


def _queue(item: Row, oldest: float | None) -> Row:
    name, status = item["metadata"]["name"], item["status"]
    return {
        "queue": item["spec"].get("queue") or f"setpoint-{name}.fifo",
        "pool": name,
        "visible": status["visible"],
        "inFlight": status["inFlight"],
        "deadLetters": status["deadLetters"],
        "oldestWait": oldest,
    }


def _runs(client: Client) -> list[Row]:
    runs, tasks, oldest = Counter[str](), Counter[str](), dict[str, float]()
    now = client.now()
    for phase in ("Pending", "Running"):
        for item in client.items("dagruns", fieldSelector=f"phase={phase}"):
            runs[phase] += 1
            tasks[phase] += sum(item["status"].get("tasks", {}).values())
            began = text.parse_time(item["metadata"]["creationTimestamp"])
            oldest[phase] = max(oldest.get(phase, 0.0), (now - began).total_seconds() if began else 0.0)
    return [
        {"phase": phase, "runs": runs[phase], "tasks": tasks[phase], "oldest": oldest.get(phase)}
        for phase in ("Pending", "Running")
    ]


def _live(draw: Callable[[], str]) -> None:
    """Draw again and again until Ctrl-C; what does not answer for a while is shown as such."""
    from rich.live import Live  # noqa: PLC0415 - one table needs none of it
    from rich.text import Text  # noqa: PLC0415

    shown = draw()
    with Live(Text.from_ansi(shown), auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(EVERY_SECONDS)
            try:
                shown = draw()
                live.update(Text.from_ansi(f"{shown}\n\nCtrl-C ends"), refresh=True)
            except UnreachableError as error:
                live.update(Text.from_ansi(f"{shown}\n\n{error}"), refresh=True)
