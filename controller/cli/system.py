"""`setpoint up`, `demo`, `migrate`, `dispatcher`, `version`: wrappers that import what they start only when called."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from controller.cli.errors import CliError, Exit

DataDir = Annotated[Path | None, typer.Option(help="Where everything is kept.")]
Dags = Annotated[Path | None, typer.Option(help="The folder of resources to apply and watch; by default dags/.")]


def up(
    data_dir: DataDir = None,
    dags: Dags = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The API's port; by default 8080.")] = None,
    examples_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port of the example data; by default 8089.")
    ] = None,
) -> None:
    """Run the whole system on this machine until Ctrl-C."""
    _run("controller.local.up", data_dir=data_dir, dags=dags, port=port, examples_port=examples_port)


def demo(data_dir: DataDir = None, dags: Dags = None) -> None:
    """Run the example DAG on real data, then stop."""
    _run("controller.local.demo", data_dir=data_dir, dags=dags)


def dispatcher(
    check: Annotated[
        bool, typer.Option("--check", help="Only check what it needs; exit 1 if something is missing.")
    ] = False,
) -> None:
    """Run the controller; the environment configures it."""
    _run("controller.main", check=check)


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if a migration is missing.")] = False,
    dsn: Annotated[str | None, typer.Option(help="A Postgres conninfo; by default SETPOINT_MIGRATION_DSN.")] = None,
) -> None:
    """Bring the database to this version's schema; safe to run twice, also at once."""
    conninfo = dsn or os.environ.get("SETPOINT_MIGRATION_DSN")
    if not conninfo:
        raise CliError("give --dsn, or set SETPOINT_MIGRATION_DSN, to the owner's conninfo", Exit.USAGE)
    store = importlib.import_module("controller.store.migrate")
    before, head = (store.check if check else store.migrate)(conninfo)
    if check and before != head:
        raise CliError(f"the database is at {before or 'nothing'}, this version wants {head}", Exit.NEGATIVE)
    print(f"the database is at {head}" if before == head else f"migrated from {before or 'nothing'} to {head}")


def version() -> None:
    """Print the version."""
    print(installed_version("setpoint"))


def _run(module: str, **given: Path | int | None) -> None:
    """Call a module's `main` with the options that were given, and end with its status."""
    options = {name: value for name, value in given.items() if value is not None}
    sys.exit(importlib.import_module(module).main(**options) or 0)
