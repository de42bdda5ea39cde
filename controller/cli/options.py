"""The options that commands share. Typer reads these annotations when it runs, so their imports stay real."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.client import Client
from controller.cli.target import find_target

if TYPE_CHECKING:
    from collections.abc import Sequence


class Output(StrEnum):
    """How objects are printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@dataclass(slots=True)
class Globals:
    """What was given before the command; an option behind it goes first."""

    namespace: str = "default"
    output: Output = Output.TABLE
    context: str | None = None


GLOBALS = Globals()

Namespace = Annotated[str | None, typer.Option("-n", "--namespace", help="The namespace.", show_default=False)]
OutputOption = Annotated[Output | None, typer.Option("-o", "--output", help="How to print.", show_default=False)]
Sorting = Annotated[str | None, typer.Option("--sort-by", metavar="COLUMN|.PATH", help="A column, or a path.")]
Selector = Annotated[str | None, typer.Option("-l", "--selector", help="Labels, as in team=x,!old.")]
Watch = Annotated[bool, typer.Option("-w", "--watch", help="Go on and print what changes.")]
Objects = Annotated[list[str], typer.Argument(metavar="KIND/NAME", help="The object.")]


def connect(namespace: str | None) -> Client:
    """Return the client that a command talks through."""
    return Client(find_target(context=GLOBALS.context), namespace or GLOBALS.namespace)


def output_of(given: Output | None) -> Output:
    """Return the format to print in."""
    return given or GLOBALS.output


def pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return the parts of `key=value` texts."""
    found = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{text!r} is not of the form key=value")
        found.append((key, value))
    return found
