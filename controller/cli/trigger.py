"""`setpoint trigger`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from controller.cli import names
from controller.cli.errors import CliError, Exit
from controller.cli.get import dump
from controller.cli.options import Namespace, Output, OutputOption, connect, output_of, pairs


def trigger(
    words: Annotated[list[str], typer.Argument(metavar="DAG")],
    param: Annotated[list[str] | None, typer.Option("-p", "--param", help="key=value; JSON or text.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="key=value.")] = None,
    key: Annotated[str | None, typer.Option(help="The same key gives the same run.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress; exit 0 if it succeeded, else 1.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Wait at most so many seconds; the run goes on.")] = None,
    namespace: Namespace = None,
    output: OutputOption = None,
) -> None:
    """Start a run of a DAG."""
    client, form = connect(namespace), output_of(output)
    named = names.parse(words, ("dags",))
    body: dict[str, Any] = {
        "params": {name: _value(text) for name, text in pairs(param or [])},
        "labels": dict(pairs(label or [])),
    }
    if key is not None:
        body["idempotencyKey"] = key
    run = client.post("dags", named.name, "trigger", body=body)
    name = run["metadata"]["name"]
    print(dump(run, form) if form in {Output.JSON, Output.YAML} else f"run/{name}", flush=True)
    if not wait:
        return
    from rich.console import Console  # noqa: PLC0415 - only a wait draws anything

    from controller.cli.progress import follow_run  # noqa: PLC0415

    phase = follow_run(client, name, Console(stderr=form in {Output.JSON, Output.YAML}), timeout=timeout)
    if phase != "Succeeded":
        raise CliError(f"run/{name} is {phase}; `setpoint explain run/{name}` says why", Exit.NEGATIVE)


def _value(text: str) -> Any:
    """Return JSON if the text is some, else the text itself."""
    try:
        # NaN and Infinity are no JSON, so they are text like any other.
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text
