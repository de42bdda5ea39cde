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
from controller.cli.options import Namespace, Output, Selector, Sorting, Watch, connect, output_of
from controller.cli.sorting import at, by_path, shown, sorted_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.cli.client import Client

Object = dict[str, Any]
Columns = list[tuple[str, str]]
FORMATS = "table, wide, json, yaml, name, jsonpath=PATH, custom-columns=HEAD:PATH,…"
Format = Annotated[str | None, typer.Option("-o", "--output", metavar="FORMAT", help=FORMATS, show_default=False)]
# Both formats leave these as they are; a terminal may obey them.
_CONTROL = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def get(
    words: Annotated[
        list[str], typer.Argument(metavar="KIND [NAME…]", help="dags, runs, tasks, pools, datasets, notifiers, or all.")
    ],
    namespace: Namespace = None,
    output: Format = None,
    selector: Selector = None,
    run: Annotated[str | None, typer.Option(help="Only tasks of this run.")] = None,
    dag: Annotated[str | None, typer.Option(help="Only runs or tasks of this DAG.")] = None,
    field: Annotated[str | None, typer.Option("--field-selector", help="Fields, as in phase=Failed.")] = None,
    sort_by: Sorting = None,
    watch: Watch = False,
) -> None:
    """List objects, or show one."""
    client = connect(namespace)
    form, columns = columns_of(output)
    if words == ["all"]:
        _all(client, form, columns, watch=watch)
        return
    if len(words) == 1 and "/" not in words[0]:
        plural = names.plural_of(words[0])
        query = {"labelSelector": selector, "fieldSelector": _fields(client, plural, run, dag, field)}
        if watch:
            _watch(client, plural, query, form)
            return
        items = list(client.items(plural, **query))
        _print_list(client, plural, items, form, columns, sort_by)
        return
    several = [names.resolve(client, named) for named in _several(words)]
    if watch:
        _watch_one(client, several, form)
        return
    items = [client.get(named.plural, named.name) for named in several]
    if len(items) == 1 and columns is None:
        _print_one(client, several[0], items[0], form)
        return
    for plural in dict.fromkeys(named.plural for named in several):
        chosen = [item for item, named in zip(items, several, strict=True) if named.plural == plural]
        _print_list(client, plural, chosen, form, columns, sort_by)


def api_resources() -> None:
    """List the kinds of objects, and the words that mean them."""
    lines = [
        (plural, names.SHORT[plural], ",".join(word for word, meant in names.WORDS.items() if meant == plural))
        for plural in names.SHORT
    ]
    text.out(text.table(("NAME", "SHORT", "WORDS"), lines))


def _several(words: list[str]) -> list[Named]:
    """Return the objects of `run/a pool/b` or `run a b`."""
    if all("/" in word for word in words):
        return [names.parse([word]) for word in words]
    if len(words) > 2 and not any("/" in word for word in words):
        return [names.parse([words[0], name]) for name in words[1:]]
    return [names.parse(words)]


def _all(client: Client, form: Output, columns: Columns | None, *, watch: bool) -> None:
    if watch:
        raise CliError("a watch shows one kind; leave `all` out, or use `setpoint events -w`", Exit.USAGE)
    found = {plural: list(client.items(plural)) for plural in names.SHORT if plural != "taskruns"}
    if form in {Output.JSON, Output.YAML}:
        items = [item for some in found.values() for item in some]
        print(dump({"apiVersion": "v1", "kind": "List", "items": items}, form))
        return
    first = True
    for plural, items in found.items():
        if items:
            if not first and form is not Output.NAME:
                print()
            first = False
            _print_list(client, plural, items, form, columns)


def _watch_one(client: Client, several: list[Named], form: Output) -> None:
    if len(several) != 1:
        raise CliError("a watch shows a list or one object; give one name", Exit.USAGE)
    (named,) = several
    item = client.get(named.plural, named.name)
    field = f"metadata.name={named.name}"
    if named.plural == "taskruns":
        field = f"run={item['spec']['run']},task={item['spec']['task']}"
    _watch(client, named.plural, {"fieldSelector": field}, form)


def _fields(client: Client, plural: str, run: str | None, dag: str | None, field: str | None = None) -> str | None:
    if run is not None and plural != "taskruns":
        raise CliError("--run is for tasks", Exit.USAGE)
    if dag is not None and plural not in {"taskruns", "dagruns"}:
        raise CliError("--dag is for runs and tasks", Exit.USAGE)
    fields = [field] if field else []
    if run is not None:
        fields.append(f"run={names.resolve(client, names.parse([run], ('dagruns',))).name}")
    if dag is not None:
        fields.append(f"dag={dag}")
    return ",".join(fields) or None


def _print_list(
    client: Client,
    plural: str,
    items: list[Object],
    form: Output,
    columns: Columns | None = None,
    sort_by: str | None = None,
) -> None:
    if sort_by and sort_by.startswith((".", "{", "[")):
        items, sort_by = by_path(items, sort_by), None
    if columns is not None:
        _print_columns(items, columns)
        return
    if form in {Output.TABLE, Output.WIDE}:
        if not items:
            print(f"no {plural} in namespace {client.namespace}", file=sys.stderr)
            return
        wide, now = form is Output.WIDE, client.now()
        lines = [rows.cells(plural, item, now, wide=wide) for item in items]
        headers = rows.headers(plural, wide=wide)
        text.out(text.table(headers, sorted_rows(headers, lines, sort_by), colour=text.coloured()))
        return
    if form is Output.NAME:
        for item in items:
            print(Named(plural, item["metadata"]["name"]))
        return
    print(dump({"apiVersion": "v1", "kind": "List", "items": items}, form))


def _print_columns(items: list[Object], columns: Columns) -> None:
    headers = [header for header, _ in columns]
    lines = [[shown(at(item, path)) for _, path in columns] for item in items]
    text.out(text.table(headers, lines) if any(headers) else "\n".join(" ".join(line) for line in lines))


def columns_of(output: str | None) -> tuple[Output, Columns | None]:
    """Return the format of `-o`, and the columns of jsonpath=PATH or custom-columns=HEAD:PATH."""
    if output is None:
        return output_of(None), None
    what, equals, rest = output.partition("=")
    if what == "jsonpath" and rest:
        return Output.TABLE, [("", rest)]
    if what == "custom-columns" and rest:
        pairs = [column.partition(":") for column in rest.split(",")]
        if not all(head and path for head, _, path in pairs):
            raise CliError("custom-columns are written HEAD:.path,HEAD:.path", Exit.USAGE)
        return Output.TABLE, [(head, path) for head, _, path in pairs]
    if equals or output not in set(Output):
        raise CliError(f"-o {output!r} is none of {FORMATS}", Exit.USAGE)
    return Output(output), None


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
