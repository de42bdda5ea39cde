"""`setpoint config`: the systems that this folder knows."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from controller.cli import contexts, text
from controller.cli.errors import CliError, Exit
from controller.cli.get import dump
from controller.cli.options import GLOBALS, Output, OutputOption, output_of
from controller.cli.target import CONFIG_FILE, Config, find_config, unknown_context

HIDDEN = "REDACTED"


def get_contexts(output: OutputOption = None) -> None:
    """List the contexts."""
    config, form = _config(), output_of(output)
    names = sorted(config.contexts)
    if form is Output.NAME:
        text.out("\n".join(names))
    elif form in {Output.JSON, Output.YAML}:
        text.out(dump(_view(config, raw=False), form))
    else:
        rows = [("*" if n == _current(config) else "", n, str(config.contexts[n]["url"])) for n in names]
        text.out(text.table(("CURRENT", "NAME", "URL"), rows))


def use_context(name: Annotated[str, typer.Argument(metavar="NAME", help="The context.")]) -> None:
    """Make a context the current one."""
    contexts.choose(_config().path, name)
    text.out(f"switched to context {name}")


def current_context() -> None:
    """Name the context that commands talk to."""
    config = _config()
    name = _current(config)
    if name not in config.contexts:
        raise unknown_context(config, name)
    text.out(name)


def view(
    raw: Annotated[bool, typer.Option("--raw", help="Show tokens too.")] = False, output: OutputOption = None
) -> None:
    """Print the file of contexts, tokens hidden."""
    form = output_of(output)
    text.out(dump(_view(_config(), raw=raw), Output.YAML if form is Output.YAML else Output.JSON))


def _config() -> Config:
    config = find_config()
    if config is None:
        message = f"there is no {CONFIG_FILE} here or above; `setpoint up` or `setpoint deploy` write it"
        raise CliError(message, Exit.USAGE)
    return config


def _current(config: Config) -> str:
    return GLOBALS.context or os.environ.get("SETPOINT_CONTEXT") or config.current


def _view(config: Config, *, raw: bool) -> dict[str, Any]:
    shown = {
        name: dict(context) if raw or "token" not in context else {**context, "token": HIDDEN}
        for name, context in config.contexts.items()
    }
    return {"kind": "Config", "current": config.current, "contexts": shown}
