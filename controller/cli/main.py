"""The command `setpoint`: a table of commands, each imported only when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from typer.core import TyperGroup

from controller.cli import text
from controller.cli.errors import CliError, Exit
from controller.cli.options import GLOBALS, Output

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter


class Entry(NamedTuple):
    """Where a command is, and its line in the help."""

    module: str
    function: str
    help: str


COMMANDS: dict[str, Entry] = {
    "get": Entry("get", "get", "List objects, or show one."),
    "describe": Entry("describe", "describe", "Show an object with its conditions, history and events."),
    "explain": Entry("explain", "explain", "Say why an object is as it is."),
    "graph": Entry("describe", "graph", "Draw a DAG."),
    "trigger": Entry("trigger", "trigger", "Start a run of a DAG."),
    "logs": Entry("logs", "logs", "Print the logs of a run or a task."),
    "events": Entry("logs", "events", "Print what happened, and why."),
    "apply": Entry("apply", "apply", "Apply resources from files: all or nothing."),
    "diff": Entry("diff", "diff", "Show what apply would change."),
    "cancel": Entry("steer", "cancel", "Cancel a run."),
    "retry": Entry("steer", "retry", "Open an ended run, or one of its tasks, again."),
    "rerun": Entry("steer", "rerun", "Open tasks of an ended run again, and all below them."),
    "clear": Entry("steer", "clear", "Open single tasks of an ended run again."),
    "pause": Entry("steer", "pause", "Suspend a DAG or a run."),
    "resume": Entry("steer", "resume", "Resume a DAG or a run."),
    "delete": Entry("steer", "delete", "Delete a DAG, pool or dataset that nothing refers to."),
    "up": Entry("system", "up", "Run the whole system on this machine."),
    "demo": Entry("system", "demo", "Run the example DAG on real data, then stop."),
    "deploy": Entry("deploy", "deploy", "Bring an environment on AWS to what this folder says."),
    "rollback": Entry("deploy", "rollback", "Take an environment back to an earlier deployment."),
    "migrate": Entry("system", "migrate", "Bring the database to this version's schema."),
    "dispatcher": Entry("system", "dispatcher", "Run the controller."),
    "version": Entry("system", "version", "Print the version."),
}


_SETTINGS = {"help_option_names": ["-h", "--help"]}


class LazyGroup(TyperGroup):
    """A group that knows its commands' names and imports a command only to run it."""

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002 - the framework's signature
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002 - likewise
        """Return a command, imported now."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        function = getattr(importlib.import_module(f"controller.cli.{entry.module}"), entry.function)
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name, help=entry.help, context_settings=_SETTINGS)(function)
        return typer.main.get_command(app)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """Write the table of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings=_SETTINGS,
)


@app.callback()
def root(
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="The namespace.")] = "default",
    output: Annotated[Output, typer.Option("-o", "--output", help="How to print objects.")] = Output.TABLE,
) -> None:
    """Declare pipelines; a controller keeps making the world match.

    SETPOINT_URL and SETPOINT_TOKEN choose the system, or SETPOINT_CONTEXT names one that `setpoint deploy` made;
    otherwise the nearest .setpoint/context.json, which `setpoint up` writes. Exit codes: 0 yes, 1 no (a failed run, a
    difference), 2 usage, 3 nobody answers, 4 refused.
    """
    GLOBALS.namespace, GLOBALS.output = namespace, output


def main() -> None:
    """Run the command line."""
    try:
        app()
    except CliError as error:
        text.error(str(error))
        for problem in error.problems:
            text.err(f"  {problem}")
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe (head, less) has left.
        sys.stderr.close()
        sys.exit(Exit.OK)


if __name__ == "__main__":
    main()
