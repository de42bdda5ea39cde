"""`setpoint drill`."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli import text
from controller.cli.errors import CliError, Exit
from controller.cli.get import dump
from controller.cli.options import GLOBALS, Namespace, Output, OutputOption, connect, output_of
from controller.drill.history import Kind  # noqa: TC001 - typer reads it

if TYPE_CHECKING:
    from controller.drill.place import Place

_TASKS = typer.Option(min=1, max=100, help="How many tasks the drill's run has.")
_REPEAT = typer.Option(min=1, max=100, help="So many drills, until one is not passed; prints the spread.")


def drill(
    fault: Annotated[Kind, typer.Argument(help="What to break.")],
    pool: Annotated[str, typer.Option(help="The pool whose workers do the work.")] = "python",
    tasks: Annotated[int, _TASKS] = 20,
    timeout: Annotated[
        str, typer.Option(help="How long the work may wait to start, and to end after the fault.")
    ] = "5m",
    dag: Annotated[
        str | None, typer.Option(help="Break the running run of this DAG instead of the drill's own.")
    ] = None,
    repeat: Annotated[int, _REPEAT] = 1,
    force: Annotated[bool, typer.Option("--force", help="Also in production; its name must be given, too.")] = False,
    yes: Annotated[
        str | None, typer.Option("--yes", metavar="NAME", help="The name of production, where no one types.")
    ] = None,
    context: Annotated[str | None, typer.Option("--context", help="The context of the environment to break.")] = None,
    namespace: Namespace = None,
    output: OutputOption = None,
) -> None:
    """Break a part of a system that may be broken, watch it mend itself, and say what it cost."""
    from controller.drill import guard, place  # noqa: PLC0415 - `setpoint drill --help` needs none of it

    GLOBALS.context = context or GLOBALS.context
    where = place.find(GLOBALS.context)
    guard.allow(where, force=force, named=yes, ask=_ask if sys.stdin.isatty() else None)
    _run(where, fault, pool, tasks, timeout, dag, repeat, namespace, output_of(output))


def _run(
    where: Place,
    fault: Kind,
    pool: str,
    tasks: int,
    timeout: str,
    dag: str | None,
    repeat: int,
    namespace: str | None,
    form: Output,
) -> None:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - likewise
    from rich.console import Console  # noqa: PLC0415 - likewise

    from controller.drill import show  # noqa: PLC0415
    from controller.drill.session import Order, Session  # noqa: PLC0415
    from crds.quantities import parse_duration  # noqa: PLC0415

    try:
        within = parse_duration(timeout)
    except ValueError as error:
        raise CliError(f"--timeout: {error}", Exit.USAGE) from error
    data = form in {Output.JSON, Output.YAML}
    order = Order(fault, pool, tasks, within, dag, repeat)
    session = Session(connect(namespace), where, order, Console(stderr=data))
    # However it is told to end, it cleans up; a shell starts what runs in the background deaf to Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    session.announce()
    try:
        verdicts = session.run()
    except (BotoCoreError, ClientError) as error:
        raise CliError(f"AWS: {error}; check your credentials and the context's region and cluster") from error
    if data:
        print(dump(show.document(verdicts, where.environment), form))
    else:
        for verdict in verdicts:
            text.out("\n".join(show.lines(verdict, colour=text.coloured())))
        if len(verdicts) > 1:
            text.out()
            text.out(show.summary(verdicts))
    if not all(verdict.passed for verdict in verdicts):
        raise CliError(f"drill {fault}: {verdicts[-1].problems[0]}", Exit.NEGATIVE)


def _ask(question: str) -> str:
    return input(question).strip()
