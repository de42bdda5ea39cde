"""`setpoint get`."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import names, rows, text
from controller.cli.describe import dag_details
from controller.cli.errors import CliError, Exit
from controller.cli.names import Named
from controller.cli.options import Namespace, Output, OutputOption, Selector, Watch, connect, output_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.cli.client import Client

Object = dict[str, Any]
# Both formats leave these as they are; a terminal may obey them.
_CONTROL = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def get(
    words: Annotated[list[str], typer.Argument(metavar="KIND [NAME]", help="dags, runs, tasks, pools, datasets.")],
    namespace: Namespace = None,
    output: OutputOption = None,
    selector: Selector = None,
    run: Annotated[str | None, typer.Option(help="Only tasks of this run.")] = None,
    dag: Annotated[str | None, typer.Option(help="Only runs or tasks of this DAG.")] = None,
    watch: Watch = False,
) -> None:
    """List objects, or show one."""
    client, form = connect(namespace), output_of(output)
    if len(words) == 1 and "/" not in words[0]:
        plural = names.plural_of(words[0])
        query = {"labelSelector": selector, "fieldSelector": _fields(client, plural, run, dag)}
        if watch:
            _watch(client, plural, query, form)
            return
        items = list(client.items(plural, **query))
        _print_list(client, plural, items, form)
        return
    named = names.resolve(client, names.parse(words))
    if watch:
        raise CliError("a watch shows a list; leave the name out, or use `setpoint events --for`", Exit.USAGE)
    _print_one(client, named, client.get(named.plural, named.name), form)


def _fields(client: Client, plural: str, run: str | None, dag: str | None) -> str | None:
    if run is not None and plural != "taskruns":
        raise CliError("--run is for tasks", Exit.USAGE)
    if dag is not None and plural not in {"taskruns", "dagruns"}:
        raise CliError("--dag is for runs and tasks", Exit.USAGE)
    fields = []
    if run is not None:
        fields.append(f"run={names.resolve(client, names.parse([run], ('dagruns',))).name}")
    if dag is not None:
        fields.append(f"dag={dag}")
    return ",".join(fields) or None


def _print_list(client: Client, plural: str, items: list[Object], form: Output) -> None:
    if form in {Output.TABLE, Output.WIDE}:
        if not items:
            print(f"no {plural} in namespace {client.namespace}", file=sys.stderr)
            return
        wide, now = form is Output.WIDE, client.now()
        lines = [rows.cells(plural, item, now, wide=wide) for item in items]
        text.out(text.table(rows.headers(plural, wide=wide), lines, colour=text.coloured()))
        return
    if form is Output.NAME:
        for item in items:
            print(Named(plural, item["metadata"]["name"]))
        return
    print(dump({"apiVersion": "v1", "kind": "List", "items": items}, form))


def _print_one(client: Client, named: Named, item: Object, form: Output) -> None:
    if form in {Output.JSON, Output.YAML}:
        print(dump(item, form))
        return
    _print_list(client, named.plural, [item], form)
    if named.plural == "dags" and form is not Output.NAME:
        print()
        text.out("\n".join(dag_details(client, item)))


def _watch(client: Client, plural: str, query: dict[str, str | None], form: Output) -> None:
    """Print a row for each change until the stream ends, then begin anew."""
    known: dict[str, str] = {}
    widths: list[int] = []
    while True:
        for change in client.lines(client.path(plural), {**query, "watch": "true"}):
            item = change["object"]
            name = item["metadata"]["name"]
            mark = json.dumps(item, sort_keys=True)
            # A new stream begins with everything; only what is new to us is worth a line.
            if change["type"] != "DELETED" and known.get(name) == mark:
                continue
            known[name] = mark
            _print_change(client, plural, change, form, widths)


def _print_change(client: Client, plural: str, change: Object, form: Output, widths: list[int]) -> None:
    item = change["object"]
    if form is Output.NAME:
        print(Named(plural, item["metadata"]["name"]), flush=True)
        return
    if form in {Output.JSON, Output.YAML}:
        print(dump(change, form), flush=True)
        return
    wide = form is Output.WIDE
    cells = rows.cells(plural, item, client.now(), wide=wide)
    if change["type"] == "DELETED":
        cells[-1] = f"{cells[-1]} (deleted)"
    if not widths:
        headers = rows.headers(plural, wide=wide)
        widths += [max(len(head), len(cell)) for head, cell in zip(headers, cells, strict=True)]
        text.out(_padded(headers, widths), flush=True)
    text.out(_padded(cells, widths), flush=True)


def _padded(cells: Iterable[str], widths: list[int]) -> str:
    return "   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def dump(value: Any, form: Output) -> str:
    """Return JSON or YAML."""
    if form is Output.YAML:
        import yaml  # noqa: PLC0415 - a table needs none of it, and it takes a while

        dumped = str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
        if _CONTROL.search(dumped):
            dumped = str(yaml.safe_dump(value, sort_keys=False, allow_unicode=False))
        return dumped.rstrip()
    return _CONTROL.sub(lambda c: f"\\u{ord(c[0]):04x}", json.dumps(value, indent=2, ensure_ascii=False))
