"""`setpoint wait`."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import names
from controller.cli.client import NotFoundError
from controller.cli.errors import CliError, Exit, UnreachableError
from controller.cli.options import Namespace, Objects, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from controller.cli.client import Client
    from controller.cli.names import Named

LOOK_SECONDS = 0.5
FORMS = "condition=TYPE[=STATUS], phase=PHASE or delete"
_FINAL = {"Succeeded", "Failed", "UpstreamFailed", "Skipped", "Cancelled"}

Object = dict[str, Any]


def wait(
    words: Objects,
    goal: Annotated[str, typer.Option("--for", metavar="GOAL", help=FORMS)],
    timeout: Annotated[float, typer.Option(min=0.1, max=7 * 86_400, help="Wait at most so many seconds.")] = 600.0,
    namespace: Namespace = None,
) -> None:
    """Wait until something holds of an object; exit 1 if it does not in time, or cannot any more."""
    client = connect(namespace)
    named = names.resolve(client, names.parse(words))
    met = None if goal == "delete" else _goal(goal)
    with _alarm(timeout, f"{named} is not yet at {goal} after {timeout:g} s"):
        if met is None:
            _until_gone(client, named)
        else:
            _until(client, named, goal, met)
    print(f"{named} {'deleted' if met is None else 'met ' + goal}")


def _goal(text: str) -> Callable[[Object], bool]:
    what, _, rest = text.partition("=")
    if what == "phase" and rest:
        return lambda item: str(item["status"]["phase"]).lower() == rest.lower()
    if what == "condition" and rest:
        type_, _, status = rest.partition("=")
        wanted = (type_.lower(), (status or "True").lower())
        return lambda item: any(
            (c["type"].lower(), c["status"].lower()) == wanted for c in item["status"]["conditions"]
        )
    raise CliError(f"--for {text!r} is none of {FORMS}", Exit.USAGE)


def _until(client: Client, named: Named, goal: str, met: Callable[[Object], bool]) -> None:
    """Return once the goal is met. A dispatcher that goes away after it has answered once is waited for."""
    item = client.get(named.plural, named.name)
    while True:
        if met(item):
            return
        phase = item["status"]["phase"]
        if named.plural in {"dagruns", "taskruns"} and phase in _FINAL:
            raise CliError(f"{named} has ended as {phase}; it cannot come to {goal}", Exit.NEGATIVE)
        try:
            item = _next(client, named, item)
        except NotFoundError as error:
            raise CliError(f"{named} is deleted; it cannot come to {goal}", Exit.NEGATIVE) from error


def _next(client: Client, named: Named, seen: Object) -> Object:
    """Return the object as soon as it differs from what was seen."""
    while True:
        try:
            for change in client.lines(client.path(named.plural), {"fieldSelector": _field(seen), "watch": "true"}):
                item: Object = change["object"]
                if item["metadata"]["name"] == named.name and (change["type"] == "DELETED" or item != seen):
                    return _gone(client, named) if change["type"] == "DELETED" else item
        except UnreachableError as error:
            print(f"{error}; waiting for it", file=sys.stderr)
        time.sleep(LOOK_SECONDS)
        try:
            item = client.get(named.plural, named.name)
        except UnreachableError:
            continue
        if item != seen:
            return item


def _field(item: Object) -> str:
    if item["kind"] != "TaskRun":
        return f"metadata.name={item['metadata']['name']}"
    return f"run={item['spec']['run']},task={item['spec']['task']}"


def _gone(client: Client, named: Named) -> Object:
    found: Object = client.get(named.plural, named.name)
    return found


def _until_gone(client: Client, named: Named) -> None:
    answered = False
    while True:
        try:
            client.get(named.plural, named.name)
            answered = True
        except NotFoundError:
            return
        except UnreachableError:
            if not answered:
                raise
        time.sleep(LOOK_SECONDS)


@contextmanager
def _alarm(seconds: float, message: str) -> Iterator[None]:
    """Raise in the midst of whatever blocks: a watch is silent for as long as nothing changes."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise CliError(message, Exit.NEGATIVE)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
