"""Go back to what an earlier deployment left: its DAGs, its services, and on request its Terraform."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from controller.deploy import git, variables
from controller.deploy.aws import Aws, wall_clock
from controller.deploy.bootstrap import state_bucket
from controller.deploy.dags import SyncDags
from controller.deploy.history import History, choose, recorded
from controller.deploy.lease import leased
from controller.deploy.pipeline import Outcome, environment, roller
from controller.deploy.records import Record, Records, Status
from controller.deploy.run import Run
from controller.deploy.services import RollServices
from controller.deploy.step import Refused, run, show
from controller.deploy.targets import Recorded
from controller.deploy.terraform import BACKEND_FILE, Root, TerraformStep, package_command
from controller.deploy.variables import BOOTSTRAP_FILE, OPAQUE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.deploy.outputs import Deployment
    from controller.deploy.request import Request
    from controller.deploy.step import Say, Step

RECORDED_FILE = "zz-recorded.auto.tfvars.json"
"""The values of then; Terraform reads it last."""


@dataclass(frozen=True, slots=True)
class Past:
    """An environment as it is, and its records."""

    aws: Aws
    deployment: Deployment
    records: Records
    history: History

    @classmethod
    def read(cls, request: Request) -> Past:
        """Read Terraform's state and the last records."""
        known = variables.read(request.root, request.environment)
        if not (request.root / BACKEND_FILE).is_file():
            raise Refused(f"{request.root} was never deployed from here; `setpoint deploy --plan` says what is missing")
        aws, root = Aws.connect(known.region), Root(request.root)
        root.init(lambda _: None)
        deployment = environment(root)
        records = Records(aws.s3, deployment.data_bucket)
        return cls(aws, deployment, records, History.read(records))


def listed(request: Request) -> list[Record]:
    """Return all records of an environment, oldest first."""
    return Past.read(request).records.all()


def rollback(request: Request, to: int | None, say: Say, *, terraform: bool) -> Outcome:
    """Go back to a deployment and record that; raise SetpointError with the step that failed."""
    past = Past.read(request)
    bucket = state_bucket(past.deployment.name, past.aws.account)
    with leased(past.aws.s3, bucket, request.environment, say) as said:
        # Read again: whoever had the lease before us may have deployed.
        history = History.read(past.records)
        target = choose(past.records, history, to)
        said(f"back to deployment {target.number} of {target.started_at:%Y-%m-%d %H:%M} UTC")
        dags, services = _steps(request, past, history, target)
        with _terraform(request, target, wanted=terraform) as infrastructure:
            if not request.confirm([line for step in (dags, services) for line in step.plan()]):
                raise Refused("stopped as answered; nothing was changed")

            def work(record: Record, say: Say) -> Record:
                run([*infrastructure, dags, services], say)
                return record.with_services(services.done, record.migrate_hash)

            record = _record(history, target)
            return Outcome(past.deployment, recorded(past.records, record, work, said), changed=True)


def plan(request: Request, to: int | None, say: Say, *, terraform: bool) -> int:
    """Say what going back would change; return how many changes."""
    past = Past.read(request)
    target = choose(past.records, past.history, to)
    say(f"back to deployment {target.number} of {target.started_at:%Y-%m-%d %H:%M} UTC")
    with _terraform(request, target, wanted=terraform) as infrastructure:
        return show([*infrastructure, *_steps(request, past, past.history, target)], say)


def _steps(request: Request, past: Past, history: History, target: Record) -> tuple[SyncDags, RollServices]:
    deployment = past.deployment
    rolls = roller(past.aws, deployment, request)
    this = Run(history.number, history.previous, history.clean, deployment, rolls)
    families = {service.family: service.service for service in deployment.services.values()}
    dags = SyncDags(
        run=this,
        s3=past.aws.s3,
        key=target.dags,
        names=target.dag_names,
        data=None,
        store=lambda: 0,
        # The code that runs now applies them: it knows the schema that stays.
        dispatcher=lambda: rolls.ecs.describe(rolls.ecs.service(deployment.dispatcher.service).definition),
    )
    return dags, RollServices(this, Recorded(rolls.ecs, target.services, families))


@contextmanager
def _terraform(request: Request, target: Record, *, wanted: bool) -> Iterator[list[Step]]:
    """Give the step that applies the configuration of then to the state of now, in a copy."""
    if not wanted:
        yield []
        return
    if not target.git.commit:
        raise Refused(f"deployment {target.number} recorded no git revision; go back without --terraform")
    if target.git.dirty:
        raise Refused(
            f"deployment {target.number} was made of files that were not committed; go back without --terraform"
        )
    with tempfile.TemporaryDirectory(prefix="setpoint-rollback-") as folder:
        tree = Path(folder)
        git.extract(request.project, target.git.commit, tree)
        root = tree / request.terraform.resolve().relative_to(request.project.resolve())
        root = root / "environments" / request.environment
        for name in (BACKEND_FILE, BOOTSTRAP_FILE):
            shutil.copyfile(request.root / name, root / name)
        (root / RECORDED_FILE).write_text(json.dumps(_values(target)), encoding="utf-8")
        package = package_command(tree / "build" / "lambda") if request.package else ()
        yield [TerraformStep(Root(root), package, request.confirm, request.allow_destroy, tree)]


def _values(target: Record) -> dict[str, str | None]:
    """Return the simple values of then; the others stand in the files of that commit, or are the defaults."""
    values = target.terraform.values
    return {name: None if value == "null" else value for name, value in values.items() if value != OPAQUE}


def _record(history: History, target: Record) -> Record:
    previous = history.previous
    return Record(
        number=history.number,
        status=Status.STARTED,
        started_at=wall_clock(),
        git=target.git,
        terraform=target.terraform,
        images=target.images,
        migrate_hash=previous.migrate_hash if previous else "",
        # The schema only goes forward; code of then runs on it.
        migration_head=previous.migration_head if previous else "",
        dags=target.dags,
        dag_names=target.dag_names,
        source=target.effective,
    )
