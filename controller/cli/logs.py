"""`setpoint logs` and `setpoint events`."""

from __future__ import annotations

import codecs
import json
import sys
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import names, text
from controller.cli.errors import CliError, Exit
from controller.cli.get import dump
from controller.cli.options import Namespace, Objects, Output, OutputOption, Watch, connect, output_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from controller.cli.client import Client
    from controller.cli.names import Named

MAX_TAIL = 100_000
MOST_EVENTS = 1_000
"""How many of the newest events are looked through for some of them."""


def logs(
    words: Objects,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run or task has ended.")] = False,
    attempt: Annotated[int | None, typer.Option(help="The number of a task's attempt.")] = None,
    previous: Annotated[bool, typer.Option("-p", "--previous", help="Of the attempt before the newest.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, max=MAX_TAIL, help="Only the last lines.")] = None,
    namespace: Namespace = None,
) -> None:
    """Print the logs of a run or a task."""
    client = connect(namespace)
    named = names.resolve(client, names.parse(words, ("dagruns", "taskruns")))
    if previous:
        attempt = _previous(client, named, attempt)
    if follow and tail is not None:
        raise CliError("--tail is for a log that ends; leave -f out", Exit.USAGE)
    query = {"follow": "true" if follow else None, "attempt": attempt}
    pieces = client.stream(client.path(named.plural, named.name, "logs"), query)
    if tail is not None:
        pieces = _tail(pieces, tail)
    # A file or another program gets what the task wrote; a terminal would obey it.
    for piece in _readable(pieces) if sys.stdout.isatty() else pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _previous(client: Client, named: Named, attempt: int | None) -> int:
    if named.plural != "taskruns" or attempt is not None:
        raise CliError("--previous is for a task, without --attempt", Exit.USAGE)
    attempts = client.get(named.plural, named.name)["status"].get("attempts", ())
    if len(attempts) < 2:
        raise CliError(f"{named} has no attempt before its newest", Exit.NEGATIVE)
    return int(attempts[-2]["number"])


def _tail(pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield the last lines, keeping no more of the log than those."""
    lines: deque[bytes] = deque(maxlen=count)
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        lines.extend(line + b"\n" for line in whole)
    if rest:
        lines.append(rest)
    yield from lines


def _readable(pieces: Iterable[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        yield text.visible(decoder.decode(piece).replace("\r\n", "\n"), colours=True).encode()


def events(
    about: Annotated[str | None, typer.Option("--for", metavar="KIND/NAME", help="Only of this object.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many of the newest.")] = 50,
    types: Annotated[str | None, typer.Option("--types", help="Normal or Warning; several with commas.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Not older than 30s, 10m, 2h or 1d.")] = None,
    watch: Watch = False,
    namespace: Namespace = None,
    output: OutputOption = None,
) -> None:
    """Print what happened, and why, oldest first."""
    client, form = connect(namespace), output_of(output)
    target = str(names.resolve(client, names.parse([about]))) if about else None
    fits = _filter(client, types, since)
    newest = client.get("events", **{"for": target, "limit": limit if fits is None else MOST_EVENTS})["items"]
    found = newest if fits is None else [event for event in newest if fits(event)][-limit:]
    if form in {Output.JSON, Output.YAML}:
        print(dump({"kind": "EventList", "items": found}, form))
    elif found:
        lines = [_cells(client, event) for event in found]
        text.out(text.table(("AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"), lines, colour=text.coloured()), flush=True)
    elif not watch:
        print("no events", file=sys.stderr)
    if watch:
        _watch(client, target, newest[-1]["id"] if newest else 0, form, fits)


def _filter(client: Client, types: str | None, since: str | None) -> Callable[[dict[str, Any]], bool] | None:
    """Return what tells whether an event is wanted, None if all are."""
    if types is None and since is None:
        return None
    wanted = {word.strip().lower() for word in (types or "normal,warning").split(",")}
    if strange := wanted - {"normal", "warning"}:
        raise CliError(f"--types: {', '.join(sorted(strange))} is neither Normal nor Warning", Exit.USAGE)
    oldest = client.now() - text.parse_span(since) if since else None

    def fits(event: dict[str, Any]) -> bool:
        at = text.parse_time(event["time"])
        return event["type"].lower() in wanted and (oldest is None or at is None or at >= oldest)

    return fits


def _watch(
    client: Client,
    target: str | None,
    after: int,
    form: Output,
    fits: Callable[[dict[str, Any]], bool] | None,
) -> None:
    while True:
        query = {"for": target, "after": after or None, "watch": "true"}
        for line in client.lines(client.path("events"), query):
            event = line["object"]
            if event["id"] <= after:
                continue
            after = event["id"]
            if fits is not None and not fits(event):
                continue
            text.out(json.dumps(event) if form is Output.JSON else "   ".join(_cells(client, event)), flush=True)


def _cells(client: Client, event: dict[str, Any]) -> tuple[str, ...]:
    kind = names.SHORT.get(names.WORDS.get(event["kind"].lower(), ""), event["kind"].lower())
    age = text.age(event["time"], client.now())
    return age, event["type"], event["reason"], f"{kind}/{event['name']}", event["message"]
