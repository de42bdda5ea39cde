"""`setpoint logs` and `setpoint events`."""

from __future__ import annotations

import codecs
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import names, text
from controller.cli.get import dump
from controller.cli.options import Namespace, Objects, Output, OutputOption, Watch, connect, output_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from controller.cli.client import Client


def logs(
    words: Objects,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run or task has ended.")] = False,
    attempt: Annotated[int | None, typer.Option(help="The number of a task's attempt.")] = None,
    namespace: Namespace = None,
) -> None:
    """Print the logs of a run or a task."""
    client = connect(namespace)
    named = names.resolve(client, names.parse(words, ("dagruns", "taskruns")))
    query = {"follow": "true" if follow else None, "attempt": attempt}
    pieces = client.stream(client.path(named.plural, named.name, "logs"), query)
    # A file or another program gets what the task wrote; a terminal would obey it.
    for piece in _readable(pieces) if sys.stdout.isatty() else pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _readable(pieces: Iterable[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        yield text.visible(decoder.decode(piece).replace("\r\n", "\n"), colours=True).encode()


def events(
    about: Annotated[str | None, typer.Option("--for", metavar="KIND/NAME", help="Only of this object.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many of the newest.")] = 50,
    watch: Watch = False,
    namespace: Namespace = None,
    output: OutputOption = None,
) -> None:
    """Print what happened, and why, oldest first."""
    client, form = connect(namespace), output_of(output)
    target = str(names.resolve(client, names.parse([about]))) if about else None
    found = client.get("events", **{"for": target, "limit": limit})["items"]
    if form in {Output.JSON, Output.YAML}:
        print(dump({"kind": "EventList", "items": found}, form))
    elif found:
        lines = [_cells(client, event) for event in found]
        text.out(text.table(("AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"), lines, colour=text.coloured()), flush=True)
    elif not watch:
        print("no events", file=sys.stderr)
    if watch:
        _watch(client, target, found[-1]["id"] if found else 0, form)


def _watch(client: Client, target: str | None, after: int, form: Output) -> None:
    while True:
        query = {"for": target, "after": after or None, "watch": "true"}
        for line in client.lines(client.path("events"), query):
            event = line["object"]
            if event["id"] <= after:
                continue
            after = event["id"]
            text.out(json.dumps(event) if form is Output.JSON else "   ".join(_cells(client, event)), flush=True)


def _cells(client: Client, event: dict[str, Any]) -> tuple[str, ...]:
    kind = names.SHORT.get(names.WORDS.get(event["kind"].lower(), ""), event["kind"].lower())
    age = text.age(event["time"], client.now())
    return age, event["type"], event["reason"], f"{kind}/{event['name']}", event["message"]
