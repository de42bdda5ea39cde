"""Follow a run to its end: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from controller.cli import rows, text
from controller.cli.describe import in_order
from controller.cli.errors import CliError, Exit, UnreachableError

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from controller.cli.client import Client

FINAL = frozenset({"Succeeded", "Failed", "Cancelled"})
LOOK_SECONDS = 0.5
# A dispatcher that restarts or fails over is back within this.
AWAY_SECONDS = 300.0
# The most tasks that a live table shows; the rest is counted.
ROWS_SHOWN = 40

Object = Mapping[str, Any]


def follow_run(client: Client, name: str, console: Console, *, timeout: float | None = None) -> str:
    """Show a run until it has ended and return its phase; raise CliError when `timeout` seconds have passed."""
    if not console.is_terminal:
        return _follow(client, name, _Lines(console), timeout)
    with Live(console=console, auto_refresh=False) as live:
        return _follow(client, name, _Table(live), timeout)


class _Lines:
    """Print a line for each task that changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: dict[str, str] = {}

    def show(self, run: Object, tasks: Sequence[Object], now: datetime) -> None:
        for item in (*tasks, run):
            name = item["metadata"]["name"]
            line = _line(item)
            if self._seen.get(name) != line:
                self._seen[name] = line
                shown = text.visible(f"{now:%H:%M:%S}  {line}")
                self._console.print(shown, highlight=False, markup=False, soft_wrap=True)

    def away(self, error: Exception) -> None:
        shown = text.visible(f"the dispatcher is away, waiting for it: {error}")
        self._console.print(shown, highlight=False, markup=False)


class _Table:
    """Redraw a table of the tasks."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, run: Object, tasks: Sequence[Object], now: datetime) -> None:
        self._live.update(task_table(run, tasks, now), refresh=True)

    def away(self, error: Exception) -> None:
        shown = text.visible(f"the dispatcher is away, waiting for it: {error}")
        self._live.update(Text(shown, style="yellow"), refresh=True)


def task_table(run: Object, tasks: Sequence[Object], now: datetime) -> Table:
    """Return the tasks of a run as a table."""
    status = run["status"]
    took = text.between(status.get("startedAt"), status.get("endedAt"), now)
    title = f"run/{run['metadata']['name']}  {status['phase']}  {took}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for header in ("TASK", "POOL", "PHASE", "ATTEMPT", "DURATION", "REASON"):
        table.add_column(header, no_wrap=header != "REASON")
    for item in _most_telling(tasks):
        _, *cells = rows.cells("taskruns", item, now)
        shown = [Text(text.visible(cell), style=text.phase_colour(cell) or "") for cell in cells]
        table.add_row(_task_name(item), *shown)
    if len(tasks) > ROWS_SHOWN:
        table.add_row(f"… and {len(tasks) - ROWS_SHOWN} more", *[""] * 5)
    return table


def _follow(client: Client, name: str, view: _Lines | _Table, timeout: float | None) -> str:
    started = heard = time.monotonic()
    while True:
        try:
            run = client.get("dagruns", name)
            tasks = in_order(list(client.items("taskruns", fieldSelector=f"run={name}")))
        except UnreachableError as error:
            if time.monotonic() - heard > AWAY_SECONDS:
                raise
            view.away(error)
        else:
            heard = time.monotonic()
            view.show(run, tasks, client.now())
            phase: str = run["status"]["phase"]
            if phase in FINAL:
                return phase
        if timeout is not None and time.monotonic() - started > timeout:
            raise CliError(f"run/{name} has not ended within {timeout:g} s; it goes on", Exit.NEGATIVE)
        time.sleep(LOOK_SECONDS)


def _most_telling(tasks: Sequence[Object]) -> Sequence[Object]:
    """Return all tasks if they fit, else those that move or failed."""
    if len(tasks) <= ROWS_SHOWN:
        return tasks
    dull = {"Waiting", "Succeeded", "Skipped"}
    telling = [task for task in tasks if task["status"]["phase"] not in dull]
    return [*telling, *(task for task in tasks if task["status"]["phase"] in dull)][:ROWS_SHOWN]


def _task_name(item: Object) -> str:
    spec = item["spec"]
    return f"{spec['task']}[{spec['index']}]" if spec["index"] else str(spec["task"])


def _line(item: Object) -> str:
    status = item["status"]
    if item["kind"] == "DagRun":
        why = status.get("message") if status["phase"] in FINAL else None
        return f"run/{item['metadata']['name']} {status['phase']}{f': {why}' if why else ''}"
    attempts = status.get("attempts", ())
    phase = attempts[-1]["phase"] if status["phase"] == "Active" and attempts else status["phase"]
    number = f", attempt {attempts[-1]['number']}" if attempts and attempts[-1]["number"] > 1 else ""
    why = status.get("message") if phase in {"Failed", "Backoff"} else None
    return f"{_task_name(item)} {phase}{number}{f': {why}' if why else ''}"
