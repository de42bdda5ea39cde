"""`setpoint describe` and `setpoint graph`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import graph as drawing
from controller.cli import names, rows, text
from controller.cli.errors import CliError, Exit
from controller.cli.options import Namespace, Objects, connect

if TYPE_CHECKING:
    from controller.cli.client import Client
    from controller.cli.names import Named

REVISIONS_SHOWN = 5
EVENTS_SHOWN = 15
_CHANGES_SHOWN = 3

Object = Mapping[str, Any]


def describe(words: Objects, namespace: Namespace = None) -> None:
    """Show an object with its conditions, its history and its events."""
    client = connect(namespace)
    named = names.resolve(client, names.parse(words))
    item = client.get(named.plural, named.name)
    text.out("\n".join(_describe(client, named, item)))


def graph(
    words: Objects,
    namespace: Namespace = None,
    output: Annotated[str, typer.Option("-o", "--output", help="text or mermaid.")] = "text",
) -> None:
    """Draw a DAG."""
    if output not in {"text", "mermaid"}:
        raise CliError(f"graph prints text or mermaid, not {output!r}", Exit.USAGE)
    client = connect(namespace)
    named = names.parse(words, ("dags",))
    draw = drawing.mermaid if output == "mermaid" else drawing.tree
    text.out("\n".join(draw(*_needs(client.get("dags", named.name)))))


def dag_details(client: Client, item: Object) -> Iterator[str]:
    """Yield the graph of a DAG and its last revisions."""
    yield from drawing.tree(*_needs(item))
    yield ""
    yield "Revisions:"
    found = client.get("dags", item["metadata"]["name"], "revisions", limit=REVISIONS_SHOWN)["items"]
    lines = [
        (
            str(revision["generation"]),
            text.age(revision["createdAt"], client.now()),
            str(revision["activeRuns"]),
            _changed(revision["changes"]) if revision["changes"] else "created" if revision["generation"] == 1 else "-",
        )
        for revision in found
    ]
    yield text.table(("REVISION", "AGE", "ACTIVE RUNS", "CHANGES"), lines)


def _needs(item: Object) -> tuple[dict[str, list[str]], dict[str, str]]:
    tasks = item["spec"]["tasks"]
    return {t["name"]: t.get("needs", []) for t in tasks}, {t["name"]: t["runtime"] for t in tasks}


def _changed(changes: list[Object]) -> str:
    paths = ", ".join(change["path"].removeprefix("spec.") for change in changes[:_CHANGES_SHOWN])
    more = len(changes) - _CHANGES_SHOWN
    return f"{paths} and {more} more" if more > 0 else paths


def _describe(client: Client, named: Named, item: Object) -> Iterator[str]:
    metadata, status = item["metadata"], item["status"]
    yield f"Name:       {metadata['name']}"
    yield f"Kind:       {item['kind']}"
    yield f"Namespace:  {metadata['namespace']}"
    if metadata["labels"]:
        yield f"Labels:     {', '.join(f'{key}={value}' for key, value in metadata['labels'].items())}"
    yield f"Age:        {text.age(metadata['creationTimestamp'], client.now())}"
    yield f"Generation: {metadata['generation']}"
    yield f"Phase:      {text.paint(status['phase'], text.phase_colour(status['phase']), on=text.coloured())}"
    if status.get("message"):
        yield f"Message:    {status['message']}"
    yield from _spec(item["spec"])
    yield ""
    yield from _conditions(status["conditions"])
    yield from _details(client, named, item)
    yield from _events(client, named)


def _spec(spec: Object) -> Iterator[str]:
    yield "Spec:"
    for key, value in spec.items():
        if key in {"tasks", "columns"}:
            yield f"  {key}: {', '.join(entry['name'] for entry in value)}"
        elif value not in ({}, [], ""):
            yield f"  {key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _conditions(conditions: list[Object]) -> Iterator[str]:
    yield "Conditions:"
    lines = [(c["type"], c["status"], c["reason"], c.get("message", "")) for c in conditions]
    yield text.table(("TYPE", "STATUS", "REASON", "MESSAGE"), lines, colour=text.coloured())


def _details(client: Client, named: Named, item: Object) -> Iterator[str]:
    match named.plural:
        case "dags":
            yield ""
            yield from dag_details(client, item)
        case "dagruns":
            yield ""
            tasks = list(client.items("taskruns", fieldSelector=f"run={named.name}"))
            ordered = in_order(tasks)
            lines = [rows.cells("taskruns", task, client.now(), wide=True) for task in ordered]
            if lines:
                yield text.table(rows.headers("taskruns", wide=True), lines, colour=text.coloured())
        case "taskruns":
            yield ""
            yield from _attempts(client, item)
        case "datasets":
            yield ""
            columns = [(c["name"], c["type"], str(c.get("nullable", True)).lower()) for c in item["spec"]["columns"]]
            yield text.table(("COLUMN", "TYPE", "NULLABLE"), columns)
        case _:
            return


def in_order(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tasks of a run, each behind all that it needs."""
    needs = {task["spec"]["task"]: task["spec"].get("needs", []) for task in tasks}
    place = {name: n for n, name in enumerate(drawing.order(needs))}
    return sorted(tasks, key=lambda task: (place[task["spec"]["task"]], task["spec"]["index"]))


def _attempts(client: Client, item: Object) -> Iterator[str]:
    lines = [
        (
            str(a["number"]),
            a["phase"],
            a.get("worker") or "-",
            text.between(a.get("claimedAt") or a["createdAt"], a.get("endedAt"), client.now()),
            " ".join(part for part in (a.get("reason"), a.get("message")) if part),
        )
        for a in item["status"].get("attempts", ())
    ]
    headers = ("ATTEMPT", "PHASE", "WORKER", "DURATION", "REASON")
    yield text.table(headers, lines, colour=text.coloured()) if lines else "It has no attempt yet."


def _events(client: Client, named: Named) -> Iterator[str]:
    query: dict[str, str | int | None] = {"for": str(named), "limit": EVENTS_SHOWN}
    found = client.get("events", **query)["items"]
    yield ""
    if not found:
        yield "No events."
        return
    lines = [(text.age(e["time"], client.now()), e["type"], e["reason"], e["name"], e["message"]) for e in found]
    yield text.table(("AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"), lines, colour=text.coloured())
