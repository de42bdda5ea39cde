"""`setpoint apply`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import files, text
from controller.cli.client import Client, RefusedError
from controller.cli.errors import CliError, Exit
from controller.cli.files import InvalidFilesError
from controller.cli.options import Namespace, connect

if TYPE_CHECKING:
    from collections.abc import Sequence


def apply(
    paths: Annotated[list[str], typer.Option("-f", "--file", help="A file, a folder, or - for standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on and apply each change of the files.")] = False,
    namespace: Namespace = None,
) -> None:
    """Apply resources from files: all or nothing."""
    client = connect(namespace)
    if not watch:
        report(apply_once(client, paths, dry_run=dry_run), dry_run=dry_run)
        return
    if dry_run or files.STDIN in paths:
        raise CliError("--watch applies files; it goes with neither --dry-run nor standard input", Exit.USAGE)
    from controller.cli.watching import keep_applied  # noqa: PLC0415 - loads a native library

    keep_applied(client, paths)


def apply_once(client: Client, paths: Sequence[str], *, dry_run: bool = False) -> list[dict[str, Any]]:
    """Apply all files and return what became of each resource; raise InvalidFilesError if one is bad."""
    source = files.read(client, paths)
    if not dry_run:
        for digest, bundle in source.bundles.items():
            if not client.has_bundle(digest):
                client.put_bundle(digest, bundle.data)
    try:
        answer = client.post("apply", body={"resources": source.documents}, dryRun="All" if dry_run else None)
    except RefusedError as error:
        if error.status != 422:
            raise
        raise InvalidFilesError(source.problems(error)) from error
    items: list[dict[str, Any]] = answer["items"]
    return items


def report(items: Sequence[dict[str, Any]], *, dry_run: bool = False, quiet: bool = False) -> None:
    """Print what became of each resource; `quiet` leaves out what did not change."""
    colour = text.coloured()
    for item in items:
        if quiet and item["action"] == "unchanged":
            continue
        revision = f" (revision {item['revision']})" if item.get("revision") and item["action"] != "unchanged" else ""
        shade = {"created": "green", "configured": "yellow", "unchanged": "grey"}[item["action"]]
        would = " (dry run)" if dry_run else ""
        text.out(
            f"{item['kind'].lower()}/{item['name']} {text.paint(item['action'], shade, on=colour)}{revision}{would}",
            flush=True,
        )
    sys.stdout.flush()
