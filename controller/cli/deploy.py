"""`setpoint deploy` and `setpoint rollback`."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import text
from controller.cli.errors import CliError, Exit
from controller.cli.options import Output, OutputOption, output_of, pairs
from controller.deploy import context, pipeline
from controller.deploy import rollback as past
from controller.deploy.aws import Aws
from controller.deploy.request import Request
from controller.deploy.step import Refused, StepFailed
from controller.errors import SetpointError, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from controller.deploy.records import Record

CHANGES_SHOWN = 60
"""How many changes are listed before a person is asked."""

Env = Annotated[str, typer.Option("--env", help="The environment: a folder of terraform/environments.")]
Plan = Annotated[bool, typer.Option("--plan", help="Only show what would change.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", "--auto-approve", help="Do not ask.")]
TerraformDir = Annotated[Path, typer.Option(help="The folder of modules and environments.")]
Dags = Annotated[Path, typer.Option(help="The folder of resources.")]
AllowDestroy = Annotated[
    list[str] | None,
    typer.Option(metavar="ADDRESS", help="A resource that holds data and may be destroyed; repeatable."),
]
Package = Annotated[
    bool, typer.Option("--package/--no-package", help="Make the Lambda zips, or take those in build/lambda.")
]


def deploy(
    env: Env,
    plan: Plan = False,
    yes: Yes = False,
    terraform_dir: TerraformDir = Path("terraform"),
    dags: Dags = Path("dags"),
    image: Annotated[
        list[str] | None, typer.Option(metavar="KEY=REPO@sha256:…", help="An image by its digest; repeatable.")
    ] = None,
    tag: Annotated[str, typer.Option(help="The tag of the images; by default the git commit.")] = "",
    build: Annotated[bool, typer.Option("--build", help="Build and push the images that ECR does not have.")] = False,
    keep_images: Annotated[bool, typer.Option("--keep-images", help="Take the images of the last deployment.")] = False,
    allow_destroy: AllowDestroy = None,
    package: Package = True,
    output: OutputOption = None,
) -> None:
    """Bring an environment on AWS to what this folder says; a second time changes nothing.

    Steps: bootstrap, terraform, images, migrations, dags, services. Each may be repeated.
    """
    if build and keep_images:
        raise CliError("--build makes images, --keep-images takes those that run: give one of them", Exit.USAGE)
    request = _request(
        env,
        terraform_dir,
        dags,
        yes=yes,
        images=dict(pairs(image or [])),
        tag=tag,
        build=build,
        keep_images=keep_images,
        allow_destroy=frozenset(allow_destroy or ()),
        package=package,
    )
    with _explained():
        if plan:
            sys.exit(Exit.NEGATIVE if pipeline.plan(request, text.out) else Exit.OK)
        say = _progress(output_of(output))
        outcome = pipeline.deploy(request, say)
        aws = Aws.connect(outcome.deployment.region)
        written = context.write(aws, outcome.deployment, request.root, Path.cwd(), say)
        say(f"SETPOINT_CONTEXT={env} lets every command talk to it ({written})")
    _report(outcome, output_of(output))


def rollback(
    env: Env,
    to: Annotated[int | None, typer.Option(help="The number of a deployment; by default the one before.")] = None,
    plan: Plan = False,
    yes: Yes = False,
    list_: Annotated[bool, typer.Option("--list", help="List the deployments.")] = False,
    terraform: Annotated[
        bool, typer.Option("--terraform", help="Also apply the Terraform of then to the state of now.")
    ] = False,
    terraform_dir: TerraformDir = Path("terraform"),
    dags: Dags = Path("dags"),
    allow_destroy: AllowDestroy = None,
    package: Package = True,
    output: OutputOption = None,
) -> None:
    """Take DAGs and services back to an earlier deployment; the database's schema stays."""
    request = _request(env, terraform_dir, dags, yes=yes, allow_destroy=frozenset(allow_destroy or ()), package=package)
    with _explained():
        if list_:
            _print_records(past.listed(request), output_of(output))
            return
        if plan:
            sys.exit(Exit.NEGATIVE if past.plan(request, to, text.out, terraform=terraform) else Exit.OK)
        outcome = past.rollback(request, to, _progress(output_of(output)), terraform=terraform)
    _report(outcome, output_of(output))


def _request(env: str, terraform_dir: Path, dags: Path, *, yes: bool, **given: Any) -> Request:
    confirm = (lambda _: True) if yes else _ask
    return Request(env, terraform_dir, dags, Path.cwd(), confirm, **given)


def _ask(changes: Sequence[str]) -> bool:
    for line in changes[:CHANGES_SHOWN]:
        text.err(f"  {line}")
    if len(changes) > CHANGES_SHOWN:
        text.err(f"  … and {len(changes) - CHANGES_SHOWN} more")
    if not sys.stdin.isatty():
        raise CliError("nobody can be asked here: look at --plan, then give --yes", Exit.USAGE)
    return typer.confirm(f"{len(changes)} changes. Go on?", err=True)


@contextmanager
def _explained() -> Iterator[None]:
    """End with the step that failed, the reason, and the command that goes on from there."""
    try:
        yield
    except CliError:
        raise
    except SetpointError as error:
        details = error.details if isinstance(error, StepFailed) else ()
        step = f"{error.step}: " if isinstance(error, StepFailed) and error.step else ""
        again = () if isinstance(error, Refused) else (f"what is done stays done; to go on: {_again()}",)
        raise CliError(f"{step}{error}", _code(error), (*details, *again)) from error


def _again() -> str:
    return shlex.join(["setpoint", *sys.argv[1:]])


def _code(error: SetpointError) -> Exit:
    if isinstance(error, Refused):
        return Exit.REFUSED
    return Exit.UNREACHABLE if isinstance(error, Transient) else Exit.NEGATIVE


def _progress(output: Output) -> Callable[[str], object]:
    """Return where progress goes: beside the result, if a program reads that."""
    return text.err if output in {Output.JSON, Output.YAML, Output.NAME} else _line


def _line(line: str) -> None:
    text.out(line, flush=True)


def _report(outcome: pipeline.Outcome, output: Output) -> None:
    deployment, record = outcome.deployment, outcome.record
    if output is Output.JSON:
        answer = {"url": deployment.api_url, "changed": outcome.changed, "deployment": _shown(record)}
        text.out(json.dumps(answer, indent=2))
        return
    text.out(f"{deployment.name}: {deployment.api_url}")
    rows = [(name, one.definition.rsplit("/", 1)[-1]) for name, one in sorted(record.services.items())]
    text.out(text.table(("SERVICE", "DEFINITION"), rows))


def _print_records(records: Sequence[Record], output: Output) -> None:
    if output is Output.JSON:
        text.out(json.dumps([_shown(record) for record in records], indent=2))
        return
    rows = [
        (
            str(record.number),
            record.status,
            f"{record.started_at:%Y-%m-%d %H:%M}",
            record.git.commit[:12] + ("+" if record.git.dirty else ""),
            str(record.source or ""),
            record.failure,
        )
        for record in records
    ]
    text.out(text.table(("NUMBER", "STATUS", "STARTED (UTC)", "COMMIT", "BACK TO", "FAILURE"), rows))


def _shown(record: Record) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415 - only when a program reads the result

    shown: dict[str, Any] = msgspec.to_builtins(record)
    return shown
