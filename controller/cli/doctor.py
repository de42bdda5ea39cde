"""`setpoint doctor`: what is wrong with this side and the other, and how to mend it."""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from controller.cli import text
from controller.cli.client import RefusedError
from controller.cli.errors import CliError, Exit, UnreachableError
from controller.cli.get import dump
from controller.cli.options import Output, OutputOption, connect, output_of
from controller.cli.target import find_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.cli.client import Client

MAX_SKEW_SECONDS = 5.0
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}

Finding = dict[str, str]


def doctor(output: OutputOption = None) -> None:
    """Examine this side and the system; exit 1 if something has failed."""
    findings, form = list(_findings()), output_of(output)
    if form in {Output.JSON, Output.YAML}:
        text.out(dump({"kind": "Doctor", "checks": findings, "version": version("setpoint")}, form))
    else:
        _print(findings)
    if any(finding["status"] == "failed" for finding in findings):
        sys.exit(Exit.NEGATIVE)


def _print(findings: list[Finding]) -> None:
    colour = text.coloured()
    width = max(len(finding["name"]) for finding in findings)
    for finding in findings:
        status = text.paint(f"{finding['status']:<7}", _COLOURS[finding["status"]], on=colour)
        text.out(f"{status}  {finding['name']:<{width}}  {finding['message']}")
        if finding.get("remedy"):
            text.out(f"{'':<9}{'':<{width}}  → {finding['remedy']}")


def _findings() -> Iterator[Finding]:
    yield _config()
    try:
        client = connect(None)
    except CliError as error:
        yield _finding("context", "failed", str(error), "choose one by `setpoint config use-context NAME`")
        return
    yield _finding("context", "ok", f"{client.target.url} (from {client.target.origin})")
    try:
        before = time.time()
        answer = client.request("GET", "/v1/doctor")
    except UnreachableError as error:
        yield _unreachable(str(error))
        return
    except RefusedError as error:
        yield _refused(error)
        return
    except CliError as error:
        yield _finding("dispatcher", "failed", str(error), "this dispatcher is older than doctor; deploy a newer one")
        return
    yield _finding("dispatcher", "ok", "it answers and accepts the token" if client.target.token else "it answers")
    yield _token(client)
    yield _skew(client, before)
    yield _version(answer)
    for check in answer["checks"]:
        yield _finding(f"server/{check['name']}", check["status"], check["message"], check.get("remedy", ""))


def _config() -> Finding:
    try:
        config = find_config()
    except CliError as error:
        return _finding(
            "config", "failed", str(error), "delete the file; `setpoint up` or `setpoint deploy` write it anew"
        )
    if config is None:
        return _finding("config", "ok", "there is no .setpoint/config.json here or above")
    mode = config.path.stat().st_mode & 0o777
    if mode & 0o077:
        said = f"others may read the tokens in {config.path} (mode {mode:o})"
        return _finding("config", "warning", said, f"chmod 600 {config.path}")
    return _finding("config", "ok", f"{config.path} with {len(config.contexts)} contexts, readable for you alone")


def _unreachable(said: str) -> Finding:
    if "CERTIFICATE_VERIFY_FAILED" in said:
        remedy = "`setpoint deploy` again renews the certificate and writes its authority to the context"
    elif "Name or service not known" in said or "nodename nor servname" in said or "name resolution" in said:
        remedy = "correct the address of the context, or connect to the network that knows it"
    else:
        remedy = "start it (`setpoint up`), or open the way to it; the checks of the system itself need it"
    return _finding("dispatcher", "failed", said, remedy)


def _refused(error: RefusedError) -> Finding:
    remedies = {
        401: "the token is unknown or has expired; set SETPOINT_TOKEN, or have `setpoint up` or `deploy` write it anew",
        403: "ask for a token with the role viewer or more",
        429: "somebody else has it examined just now; ask again in some seconds",
    }
    return _finding("token", "failed", str(error), remedies.get(error.status, "see the dispatcher's log"))


def _token(client: Client) -> Finding:
    try:
        who = client.request("GET", "/v1/whoami")
    except CliError as error:
        return _finding("token", "warning", str(error), "ask for another token: `setpoint auth create NAME`")
    role = {"viewer": "it may look", "operator": "it may look and steer runs", "admin": "it may do everything"}
    confined = f", for DAGs with {who['scope']}" if who["scope"] else ""
    return _finding("token", "ok", f"{who['name']} is {who['role']}: {role[who['role']]}{confined}")


def _skew(client: Client, before: float) -> Finding:
    # The answer's date has whole seconds and lies between the request and the answer.
    now, theirs = time.time(), client.now().timestamp()
    away = max(before - theirs - 1, theirs - now, 0.0)
    if away > MAX_SKEW_SECONDS:
        said = f"this machine and the dispatcher differ by {away:.0f} s"
        return _finding("clock", "warning", said, "synchronise this machine's clock (chrony, systemd-timesyncd)")
    return _finding("clock", "ok", f"{client.now():%H:%M:%S} UTC here as there")


def _version(answer: dict[str, Any]) -> Finding:
    mine, theirs = version("setpoint"), answer["version"]
    if mine != theirs:
        said = f"this command is {mine}, the dispatcher {theirs}"
        return _finding("version", "warning", said, "install the version of the dispatcher, or deploy this one")
    return _finding("version", "ok", f"{mine} on both sides")


def _finding(name: str, status: str, message: str, remedy: str = "") -> Finding:
    return {"name": name, "status": status, "message": message, "remedy": remedy}
