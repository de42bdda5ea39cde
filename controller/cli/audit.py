"""`setpoint audit`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import text
from controller.cli.auth import seconds
from controller.cli.errors import CliError, Exit
from controller.cli.get import dump
from controller.cli.names import SHORT, plural_of
from controller.cli.options import Namespace, Output, OutputOption, connect, output_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.cli.client import Client

PAGE = 500
DEFAULT_LIMIT = 100
_HEADERS = ("TIME", "WHO", "ROLE", "FROM", "DID", "OBJECT", "WHAT")
_OTHERS = frozenset({"token", "bundle", "audit"})
_SHOWN_PATHS = 3


def audit(
    who: Annotated[str | None, typer.Option(help="Only what this caller did.")] = None,
    about: Annotated[str | None, typer.Option("--for", metavar="KIND/NAME", help="Only about this object.")] = None,
    since: Annotated[str | None, typer.Option(help="Only what is younger, as 2h.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows, the newest.")] = DEFAULT_LIMIT,
    namespace: Namespace = None,
    output: OutputOption = None,
) -> None:
    """Print who did what, oldest first; only administrators may read it."""
    client, form = connect(namespace), output_of(output)
    kind, name = _about(about)
    query = {"who": who, "kind": kind, "name": name, "since": _since(client, since)}
    items = list(_rows(client, query, limit))[::-1]
    if form in {Output.JSON, Output.YAML}:
        print(dump({"apiVersion": "v1", "kind": "List", "items": items}, form))
    elif not items:
        print("nothing is recorded that matches", file=sys.stderr)
    else:
        text.out(text.table(_HEADERS, [_cells(item) for item in items]))


def _rows(client: Client, query: dict[str, str | None], limit: int) -> Iterator[dict[str, Any]]:
    token: str | None = None
    for start in range(0, limit, PAGE):
        page = client.get("audit", **{**query, "limit": min(PAGE, limit - start), "continue": token})
        yield from page["items"]
        token = page["metadata"].get("continue")
        if token is None:
            return


def _about(words: str | None) -> tuple[str | None, str | None]:
    if words is None:
        return None, None
    kind, _, name = words.partition("/")
    if kind.lower() in _OTHERS:
        return kind.capitalize(), name or None
    return SHORT[plural_of(kind)], name or None


def _since(client: Client, span: str | None) -> str | None:
    if span is None:
        return None
    try:
        # The server's clock, since its rows carry the database's time.
        return (client.now().astimezone(UTC) - timedelta(seconds=seconds(span))).isoformat()
    except OverflowError as error:
        raise CliError(f"{span} ago is before all time", Exit.USAGE) from error


def _cells(item: dict[str, Any]) -> list[str]:
    refused = item["outcome"] == "refused"
    did = f"{item['verb']} (refused)" if refused else item["verb"]
    about = "/".join(part for part in (item["kind"].lower(), item["name"]) if part)
    paths = [change["path"] for change in item["changes"]]
    more = f" and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else ""
    what = item["message"] or ", ".join(paths[:_SHOWN_PATHS]) + more
    time = datetime.fromisoformat(item["time"]).strftime("%Y-%m-%d %H:%M:%S")
    return [time, item["who"], item["role"], item["address"], did, about, what]
