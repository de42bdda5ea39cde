"""`setpoint diff`."""

from __future__ import annotations

import difflib
import io
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from controller.cli import consequences, files, text
from controller.cli.client import Client, RefusedError
from controller.cli.errors import Exit
from controller.cli.files import InvalidFilesError, Source
from controller.cli.options import Namespace, connect
from crds.bundle import MAX_BYTES, Bundle

# Larger files are named only.
SHOWN_BYTES = 200_000

Item = Mapping[str, Any]


def diff(
    paths: Annotated[list[str], typer.Option("-f", "--file", help="A file, a folder, or - for standard input.")],
    namespace: Namespace = None,
) -> None:
    """Show what apply would change; exit 0 if nothing, 1 if something, more if it cannot be told."""
    client = connect(namespace)
    try:
        source = files.read(client, paths)
        items = client.post("apply", body={"resources": source.documents}, dryRun="All")["items"]
    except InvalidFilesError as error:
        raise InvalidFilesError(error.problems, Exit.REFUSED) from error
    except RefusedError as error:
        raise InvalidFilesError(source.problems(error), Exit.REFUSED) from error
    changed = [item for item in items if item["action"] != "unchanged"]
    for item in changed:
        _print(_lines(client, item, source))
    if changed:
        sys.exit(Exit.NEGATIVE)


def _print(lines: Iterator[str]) -> None:
    colour = text.coloured()
    shades = {"+": "green", "-": "red", "@": "blue"}
    for line in lines:
        text.out(text.paint(line, shades.get(line[:1]), on=colour))


def _lines(client: Client, item: Item, source: Source) -> Iterator[str]:
    name = f"{item['kind'].lower()}/{item['name']}"
    if item["action"] == "created":
        yield f"{name} is new"
        return
    yield f"{name} generation {_before(item)} → {item['generation']}"
    for change in item["changes"]:
        if change["path"] == "spec.bundle":
            yield from _bundle(client, name, change, source.bundles)
        else:
            yield from _field(name, change)
    yield from consequences.of(client, item, _document(source, item))


def _document(source: Source, item: Item) -> Item:
    return next(d for d in source.documents if (d["kind"], d["metadata"]["name"]) == (item["kind"], item["name"]))


def _before(item: Item) -> int:
    spec_changed = any(change["path"].startswith("spec") for change in item["changes"])
    return int(item["generation"]) - spec_changed


def _field(name: str, change: Item) -> Iterator[str]:
    old, new = _text(change["from"]), _text(change["to"])
    yield from _unified(f"{name} {change['path']}", old, new)


def _text(value: Any) -> list[str]:
    if value is None:
        return []
    return (value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)).splitlines()


def _unified(label: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    yield from difflib.unified_diff(old, new, label, label, lineterm="")


def _bundle(client: Client, name: str, change: Item, bundles: Mapping[str, Bundle]) -> Iterator[str]:
    """Yield the differences between the files of two bundles."""
    before = client.bundle(change["from"]) if change["from"] else None
    after = bundles.get(change["to"] or "")
    old, new = _members(before), _members(after.data if after else None)
    if change["from"] and before is None:
        yield f"{name}: the old code {change['from'][:12]} is not stored any more"
    for member in sorted({*old, *new}):
        if old.get(member) == new.get(member):
            continue
        texts = _decoded(old.get(member, b"")), _decoded(new.get(member, b""))
        if texts[0] is None or texts[1] is None:
            yield f"{name} {member}: {len(old.get(member, b''))} → {len(new.get(member, b''))} bytes"
            continue
        yield from _unified(f"{name} {member}", texts[0], texts[1])


def _members(data: bytes | None) -> dict[str, bytes]:
    if data is None:
        return {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
            return {}
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def _decoded(content: bytes) -> list[str] | None:
    if len(content) > SHOWN_BYTES or b"\x00" in content:
        return None
    return content.decode(errors="replace").splitlines()
