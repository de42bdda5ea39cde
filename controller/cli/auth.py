"""`setpoint auth create|list|revoke|whoami|can-i`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from controller.cli import text
from controller.cli.errors import CliError, Exit
from controller.cli.get import dump
from controller.cli.options import Namespace, Output, OutputOption, connect, output_of

if TYPE_CHECKING:
    from datetime import datetime

PATH = "/v1/tokens"
NEVER = "never"
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SPAN = re.compile(r"([0-9]{1,9})([smhd])")
_HEADERS = ("NAME", "ROLE", "SCOPE", "ID", "CREATED BY", "AGE", "EXPIRES")

Name = Annotated[str, typer.Argument(help="The token's name.")]


def create(
    name: Name,
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")],
    ttl: Annotated[str, typer.Option(help="How long it is valid, as 30d or 12h; or never.")] = "90d",
    selector: Annotated[str, typer.Option("-l", "--selector", help="Labels of the DAGs that it is confined to.")] = "",
    output: OutputOption = None,
) -> None:
    """Draw a token. It is printed this once, alone on the output; what is told about it stands beside."""
    body = {"name": name, "role": role, "scope": selector, "ttlSeconds": None if ttl == NEVER else seconds(ttl)}
    made = connect(None).request("POST", PATH, body=body)
    if output_of(output) in {Output.JSON, Output.YAML}:
        print(dump(made, output_of(output)))
        return
    until = f"until {made['expiresAt']}" if made["expiresAt"] else "for ever"
    confined = f", for DAGs with {made['scope']}" if made["scope"] else ""
    text.err(f"token {made['name']}: {made['role']}{confined}, {until}; it is shown only now")
    print(made["token"])


def list_(output: OutputOption = None) -> None:
    """List the tokens that were drawn, without their secrets."""
    client, form = connect(None), output_of(output)
    items = client.request("GET", PATH)["items"]
    if form in {Output.JSON, Output.YAML}:
        print(dump({"apiVersion": "v1", "kind": "List", "items": items}, form))
    elif not items:
        print("no tokens; make one with `setpoint auth create NAME --role viewer`", file=sys.stderr)
    elif form is Output.NAME:
        text.out("\n".join(item["name"] for item in items))
    else:
        text.out(text.table(_HEADERS, [_cells(item, client.now()) for item in items]))


def revoke(name: Name) -> None:
    """Revoke a token; it opens nothing more after some seconds, and what it has open ends."""
    connect(None).request("DELETE", f"{PATH}/{quote(name, safe='')}")
    text.out(f"token {name} revoked")


def whoami(output: OutputOption = None) -> None:
    """Print whose the token is, and what it may do."""
    found = connect(None).request("GET", "/v1/whoami")
    if output_of(output) in {Output.JSON, Output.YAML}:
        print(dump(found, output_of(output)))
        return
    confined = f", confined to DAGs with {found['scope']}" if found["scope"] else ""
    text.out(f"{found['name']} ({found['source']}): {found['role']}{confined}")


def can_i(
    verb: Annotated[str, typer.Argument(help="get, list, apply, trigger, cancel, delete, …")],
    target: Annotated[str, typer.Argument(metavar="KIND[/NAME]", help="To what.")],
    namespace: Namespace = None,
    output: OutputOption = None,
) -> None:
    """Say whether the token may do something: exit code 0 is yes, 1 is no."""
    client = connect(namespace)
    kind, _, name = target.partition("/")
    query = {"verb": verb, "kind": kind, "name": name or None, "namespace": client.namespace}
    found = client.request("GET", "/v1/can-i", query)
    if output_of(output) in {Output.JSON, Output.YAML}:
        print(dump(found, output_of(output)))
    else:
        text.out("yes" if found["allowed"] else f"no: {found['reason']}")
    if not found["allowed"]:
        sys.exit(Exit.NEGATIVE)


def seconds(span: str) -> int:
    """Return a span as people write it: `30d`, `12h`, `90m`."""
    found = _SPAN.fullmatch(span)
    if found is None:
        raise CliError(f"{span!r} is no span of time; write a number and s, m, h or d, as 30d", Exit.USAGE)
    return int(found[1]) * _UNITS[found[2]]


def _cells(item: dict[str, Any], now: datetime) -> list[str]:
    ends = text.parse_time(item["expiresAt"])
    expires = "never" if ends is None else "expired" if ends <= now else f"in {text.span(ends - now)}"
    made = [item["name"], item["role"], item["scope"] or "all", item["id"], item["createdBy"] or ""]
    return [*made, text.age(item["createdAt"], now), expires]
