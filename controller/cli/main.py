"""The command `setpoint`: a table of commands, each imported only when it is called.

A command is an `Entry` of COMMANDS: the module below controller.cli, its function, a line of help, and an example for
`--help`. Commands that belong together are a `Group` of entries: `"auth": Group("…", {"create": Entry("auth", "create",
"…", "setpoint auth create ci")})` makes `setpoint auth create`. Nothing is imported until it is called.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from typer.core import TyperGroup

from controller.cli import quick, text
from controller.cli.errors import CliError, Exit
from controller.cli.options import GLOBALS, Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typer._click import Command, Context, HelpFormatter


class Entry(NamedTuple):
    """Where a command is, and its line in the help."""

    module: str
    function: str
    help: str
    example: str = ""


class Group(NamedTuple):
    """Commands that belong together, and their line in the help."""

    help: str
    commands: dict[str, Entry]


COMMANDS: dict[str, Entry | Group] = {
    "get": Entry("get", "get", "List objects, or show one.", "setpoint get runs --dag taxi-delays -o wide"),
    "describe": Entry(
        "describe",
        "describe",
        "Show an object with its conditions, history and events.",
        "setpoint describe run/latest",
    ),
    "explain": Entry("explain", "explain", "Say why an object is as it is.", "setpoint explain run/latest"),
    "graph": Entry("describe", "graph", "Draw a DAG.", "setpoint graph taxi-delays"),
    "trigger": Entry("trigger", "trigger", "Start a run of a DAG.", "setpoint trigger taxi-delays --wait"),
    "logs": Entry("logs", "logs", "Print the logs of a run or a task.", "setpoint logs run/latest -f"),
    "events": Entry("logs", "events", "Print what happened, and why.", "setpoint events --for run/latest"),
    "apply": Entry("apply", "apply", "Apply resources from files: all or nothing.", "setpoint apply -f dags"),
    "diff": Entry("diff", "diff", "Show what apply would change.", "setpoint diff -f dags"),
    "cancel": Entry("steer", "cancel", "Cancel a run.", "setpoint cancel run/latest"),
    "retry": Entry("steer", "retry", "Open an ended run, or one of its tasks, again.", "setpoint retry run/latest"),
    "rerun": Entry(
        "steer",
        "rerun",
        "Open tasks of an ended run again, and all below them.",
        "setpoint rerun run/latest --from load",
    ),
    "clear": Entry(
        "steer", "clear", "Open single tasks of an ended run again.", "setpoint clear run/latest --task load"
    ),
    "pause": Entry("steer", "pause", "Suspend a DAG or a run.", "setpoint pause dag/taxi-delays"),
    "resume": Entry("steer", "resume", "Resume a DAG or a run.", "setpoint resume dag/taxi-delays"),
    "wait": Entry(
        "wait", "wait", "Wait until something holds of an object.", "setpoint wait run/latest --for phase=Succeeded"
    ),
    "top": Entry("top", "top", "Show how busy pools, queues and runs are.", "setpoint top pools"),
    "doctor": Entry("doctor", "doctor", "Find what is wrong, and how to mend it.", "setpoint doctor"),
    "api-resources": Entry("get", "api_resources", "List the kinds of objects.", "setpoint api-resources"),
    "completion": Entry("completion", "completion", "Print what lets a shell complete.", "setpoint completion bash"),
    "delete": Entry(
        "steer", "delete", "Delete a DAG, pool, dataset, notifier or ended run.", "setpoint delete dag/old --cascade"
    ),
    "up": Entry("system", "up", "Run the whole system on this machine.", "setpoint up --dags dags"),
    "demo": Entry("system", "demo", "Run the example DAG on real data, then stop.", "setpoint demo"),
    "drill": Entry(
        "drill", "drill", "Break a part on purpose and see it mended.", "setpoint drill kill-worker --pool python"
    ),
    "deploy": Entry(
        "deploy", "deploy", "Bring an environment on AWS to what this folder says.", "setpoint deploy --env dev"
    ),
    "rollback": Entry(
        "deploy", "rollback", "Take an environment back to an earlier deployment.", "setpoint rollback --env dev"
    ),
    "migrate": Entry("system", "migrate", "Bring the database to this version's schema.", "setpoint migrate --check"),
    "dispatcher": Entry("system", "dispatcher", "Run the controller.", "setpoint dispatcher --check"),
    "version": Entry("system", "version", "Print the version.", "setpoint version"),
    "audit": Entry("audit", "audit", "Print who did what.", "setpoint audit --for dag/taxi-delays --since 2h"),
    "auth": Group(
        "Make and revoke tokens; say what one's own may do.",
        {
            "create": Entry("auth", "create", "Draw a token.", "setpoint auth create ci --role operator --ttl 30d"),
            "list": Entry("auth", "list_", "List the tokens.", "setpoint auth list"),
            "revoke": Entry("auth", "revoke", "Revoke a token.", "setpoint auth revoke ci"),
            "whoami": Entry("auth", "whoami", "Print whose the token is.", "setpoint auth whoami"),
            "can-i": Entry(
                "auth", "can_i", "Say whether one may do something.", "setpoint auth can-i delete dag/taxi-delays"
            ),
        },
    ),
    "config": Group(
        "Choose among the systems in .setpoint/config.json.",
        {
            "get-contexts": Entry("config", "get_contexts", "List the contexts.", "setpoint config get-contexts"),
            "use-context": Entry("config", "use_context", "Choose a context.", "setpoint config use-context local"),
            "current-context": Entry(
                "config", "current_context", "Name the context.", "setpoint config current-context"
            ),
            "view": Entry("config", "view", "Print the file, tokens hidden.", "setpoint config view"),
        },
    ),
}


_SETTINGS = {"help_option_names": ["-h", "--help"]}


class LazyGroup(TyperGroup):
    """A group that knows its commands' names and imports a command only to run it."""

    table: Mapping[str, Entry | Group] = COMMANDS

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002 - the framework's signature
        """Return the names of all commands."""
        return list(self.table)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002 - likewise
        """Return a command, imported now."""
        entry = self.table.get(cmd_name)
        if entry is None:
            return None
        return _group(cmd_name, entry) if isinstance(entry, Group) else command_of(cmd_name, entry)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Find the command that is meant, or name the nearest."""
        word = args[0] if args else ""
        if word and word not in self.table and not word.startswith("-"):
            near = difflib.get_close_matches(word, self.table, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(self.table)}"
            raise CliError(f"{word!r} is no command of {ctx.command_path}; {hint}", Exit.USAGE)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """Write the table of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.table.items()])


def command_of(name: str, entry: Entry) -> Command:
    """Return a command of the table, imported now."""
    function = getattr(importlib.import_module(f"controller.cli.{entry.module}"), entry.function)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    epilog = f"Example: {entry.example}" if entry.example else None
    app.command(name, help=entry.help, epilog=epilog, context_settings=_SETTINGS)(function)
    return typer.main.get_command(app)


def _group(name: str, group: Group) -> Command:
    class Inner(LazyGroup):
        """The commands of one group."""

        table = group.commands

    app = typer.Typer(cls=Inner, name=name, add_completion=False, rich_markup_mode=None, no_args_is_help=True)
    app.callback(help=group.help)(lambda: None)
    app.info.context_settings = _SETTINGS
    return typer.main.get_command(app)


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
    context: Annotated[str, typer.Option("--context", help="The context; `setpoint config` lists them.")] = "",
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="The namespace.")] = "default",
    output: Annotated[Output, typer.Option("-o", "--output", help="How to print objects.")] = Output.TABLE,
) -> None:
    """Declare pipelines; a controller keeps making the world match.

    --context or SETPOINT_CONTEXT chooses a system of the nearest .setpoint/config.json, which `setpoint up` and
    `setpoint deploy` write; SETPOINT_URL and SETPOINT_TOKEN give one directly. Otherwise it is the file's current
    context. Exit codes: 0 yes, 1 no (a failed run, a difference), 2 usage, 3 nobody answers, 4 refused.
    """
    GLOBALS.namespace, GLOBALS.output, GLOBALS.context = namespace, output, context or None


def main() -> None:
    """Run the command line."""
    quick.install()
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
