"""`setpoint cancel`, `retry`, `rerun`, `clear`, `pause`, `resume`, `delete`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli import names
from controller.cli.client import NotFoundError
from controller.cli.errors import CliError, Exit
from controller.cli.options import Namespace, Objects, connect

if TYPE_CHECKING:
    from controller.cli.client import Client
    from controller.cli.names import Named

LOOK_SECONDS = 0.3


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


def rerun(
    words: Objects,
    start: Annotated[list[str], typer.Option("--from", metavar="TASK", help="This task and all below it; repeatable.")],
    namespace: Namespace = None,
) -> None:
    """Open tasks of an ended run again, and all that lies below them, also where they succeeded."""
    _reopen(words, namespace, "rerun", {"from": start})


def clear(
    words: Objects,
    task: Annotated[list[str], typer.Option("--task", metavar="TASK", help="This task alone; repeatable.")],
    namespace: Namespace = None,
) -> None:
    """Open single tasks of an ended run again, and nothing below them."""
    _reopen(words, namespace, "clear", {"tasks": task})


def delete(
    words: Objects,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="A DAG goes with its runs; they are cancelled first.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is gone.")] = True,
    timeout: Annotated[float, typer.Option(help="Wait at most so many seconds; it goes on.")] = 120.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say whether it could be deleted.")] = False,
    namespace: Namespace = None,
) -> None:
    """Delete a DAG, pool, dataset, notifier or ended run. What hangs on it goes first: runs, workers, finalizers."""
    client = connect(namespace)
    named = names.resolve(client, names.parse(words, ("dags", "dagruns", "workerpools", "datasets", "notifiers")))
    query = {"propagationPolicy": "Foreground" if cascade else None, "dryRun": "All" if dry_run else None}
    answer = client.request(
        "DELETE", client.path(named.plural, named.name), query if named.plural != "dagruns" else None
    )
    held = answer["details"].get("finalizers")
    if dry_run:
        print(f"{named} can be deleted")
    elif not held:
        print(f"{named} deleted")
    elif not wait:
        print(f"{named} is being deleted; it waits for {', '.join(held)}")
    else:
        _until_gone(client, named, timeout)


def _until_gone(client: Client, named: Named, timeout: float) -> None:
    end, said = time.monotonic() + timeout, ""
    while True:
        try:
            item = client.get(named.plural, named.name)
        except NotFoundError:
            print(f"{named} deleted")
            return
        why = item["status"]["conditions"][0].get("message", "")
        if why != said:
            said = why
            print(f"{named} is being deleted; {why}", file=sys.stderr)
        if time.monotonic() > end:
            raise CliError(f"{named} is not gone after {timeout:g} s; {why}", Exit.NEGATIVE)
        time.sleep(LOOK_SECONDS)


def _reopen(words: list[str], namespace: str | None, verb: str, body: dict[str, list[str]]) -> None:
    client = connect(namespace)
    named = names.resolve(client, names.parse(words, ("dagruns",)))
    client.post(named.plural, named.name, verb, body=body)
    print(f"{named} opened again")


def _act(words: list[str], namespace: str | None, verb: str, allowed: tuple[str, ...], done: str) -> None:
    client = connect(namespace)
    named = names.resolve(client, names.parse(words, allowed))
    client.post(named.plural, named.name, verb)
    print(f"{named} {done}")
