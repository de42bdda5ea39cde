"""`setpoint cancel`, `retry`, `pause`, `resume`, `delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from controller.cli import names
from controller.cli.errors import CliError, Exit
from controller.cli.options import Namespace, Objects, connect


def cancel(words: Objects, namespace: Namespace = None) -> None:
    """Cancel a run: its workers are told to stop."""
    _act(words, namespace, "cancel", ("dagruns",), "cancel requested")


def retry(
    words: Objects,
    task: Annotated[list[str] | None, typer.Option("--task", help="Only these tasks of the run.")] = None,
    namespace: Namespace = None,
) -> None:
    """Open an ended run, or one of its tasks, again, with fresh budgets."""
    client = connect(namespace)
    named = names.resolve(client, names.parse(words, ("dagruns", "taskruns")))
    if task and named.plural == "taskruns":
        raise CliError("--task chooses tasks of a run; give run/NAME", Exit.USAGE)
    client.post(named.plural, named.name, "retry", body={"tasks": task} if task else {})
    print(f"{named} opened again")


def pause(words: Objects, namespace: Namespace = None) -> None:
    """Suspend a DAG or a run: what is active goes on, nothing new starts."""
    _act(words, namespace, "pause", ("dags", "dagruns"), "paused")


def resume(words: Objects, namespace: Namespace = None) -> None:
    """Resume a DAG or a run."""
    _act(words, namespace, "resume", ("dags", "dagruns"), "resumed")


def delete(words: Objects, namespace: Namespace = None) -> None:
    """Delete a DAG, pool or dataset that nothing refers to."""
    client = connect(namespace)
    named = names.parse(words, ("dags", "workerpools", "datasets"))
    client.request("DELETE", client.path(named.plural, named.name))
    print(f"{named} deleted")


def _act(words: list[str], namespace: str | None, verb: str, allowed: tuple[str, ...], done: str) -> None:
    client = connect(namespace)
    named = names.resolve(client, names.parse(words, allowed))
    client.post(named.plural, named.name, verb)
    print(f"{named} {done}")
