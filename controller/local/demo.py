"""`setpoint demo`: start the system, run the DAG `flights` on real data to its end, show what it made, stop."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from controller.cli.apply import apply_once
from controller.cli.client import Client
from controller.cli.errors import CliError
from controller.cli.progress import follow_run
from controller.cli.target import Target
from controller.local.layout import DEFAULT_DATA_DIR, DataDirInUseError, DataDirUnusableError
from controller.local.postgres import PostgresNotFoundError
from controller.local.system import Options, PortTakenError, System
from controller.local.up import configure
from crds.phases import RunPhase

if TYPE_CHECKING:
    from collections.abc import Iterable

DAG = "flights"
RUN_WITHIN = 600.0
LOG_WIDTH = 160

Object = dict[str, Any]


def main(data_dir: Path = DEFAULT_DATA_DIR, dags: Path = Path("dags")) -> int:
    """Return 0 only if the run succeeded."""
    configure()
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    try:
        with System(Options(data_dir, dags, 0, 0, watch=False), _say) as system:
            return _run(system, dags, console)
    except DataDirInUseError as error:
        sys.stderr.write(f"setpoint demo: {error}; in it, run `setpoint trigger {DAG} --wait`\n")
    except (CliError, DataDirUnusableError, PortTakenError, PostgresNotFoundError, TimeoutError) as error:
        sys.stderr.write(f"setpoint demo: {error}\n")
    except KeyboardInterrupt:
        sys.stderr.write("setpoint demo: stopped; the run goes on at the next `setpoint up`\n")
    return 1


def _run(system: System, dags: Path, console: Console) -> int:
    client = Client(Target(system.url, system.token, "the demo"))
    applied = apply_once(client, [str(dags)])
    _say(f"{len(applied)} resources of {dags}/ are applied; running {DAG} …")
    started = time.monotonic()
    run = client.post("dags", DAG, "trigger", body={"params": {"source": system.examples_url}})
    name: str = run["metadata"]["name"]
    phase = follow_run(client, name, console, timeout=RUN_WITHIN)
    seconds = time.monotonic() - started

    tasks = list(client.items("taskruns", fieldSelector=f"run={name}"))
    _show(client, system, tasks, console)
    _say(f"{name} {phase} in {seconds:.1f} s")
    _say(f"Go on with `setpoint up --data-dir {system.layout.root}`: the data stays.")
    return 0 if phase == RunPhase.SUCCEEDED else 1


def _show(client: Client, system: System, tasks: Iterable[Object], console: Console) -> None:
    """Print what the run produced: datasets first, then the files that tasks kept."""
    spec = client.get("dags", DAG)["spec"]
    written = {t["name"]: [o["dataset"] for o in t.get("outputs", {}).values()] for t in spec["tasks"]}
    table = Table("PRODUCED", "ROWS", "PARTITIONS", "BYTES", "SECONDS", "WHERE", box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for number in (1, 2, 3, 4):
        table.columns[number].justify = "right"
    table.columns[5].overflow = "fold"
    for task in sorted(tasks, key=lambda t: str((t.get("status") or {}).get("endedAt"))):
        status, step = task.get("status") or {}, task["spec"]["task"]
        outputs = status.get("outputs") or {}
        seconds = _seconds(status)
        for dataset in written.get(step, []):
            found = client.get("datasets", dataset)["status"] or {}
            rows = outputs.get("rows", found.get("rows", 0))
            parts = str(found.get("partitions") or "")
            size = found.get("bytes") or 0
            table.add_row(dataset, f"{rows:,}", parts, f"{size:,}" if size else "", seconds, found["location"])
        for kept, value in outputs.items():
            if isinstance(value, dict) and "artifact" in value:
                where = system.layout.objects / value["artifact"]
                table.add_row(kept, "", "", f"{value['bytes']:,}", seconds, _near(where))
    console.print()
    console.print(table)
    console.print(f"\nhot tables: Postgres, schema hot · cold files: {_near(system.layout.objects)}")


def _seconds(status: Object) -> str:
    started, ended = status.get("startedAt"), status.get("endedAt")
    if not started or not ended:
        return ""
    return f"{(datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds():.1f}"


def _near(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
