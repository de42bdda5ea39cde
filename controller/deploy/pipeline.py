"""A deployment from its first step to its record, and what it would be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.deploy import dag_set, git, outputs, variables
from controller.deploy.aws import Aws, wall_clock
from controller.deploy.bootstrap import Bootstrap
from controller.deploy.dags import SyncDags
from controller.deploy.ecs import Ecs
from controller.deploy.history import History, recorded
from controller.deploy.images import ChooseImages, Wanted
from controller.deploy.lease import leased
from controller.deploy.migrate import Migrate
from controller.deploy.objects import data_store
from controller.deploy.records import Record, Records, Status, Terraform
from controller.deploy.rollout import Roller
from controller.deploy.run import Run
from controller.deploy.services import RollServices
from controller.deploy.step import Refused, run, show
from controller.deploy.targets import Templates
from controller.deploy.terraform import BACKEND_FILE, Root, TerraformStep, package_command
from controller.deploy.waiting import OneOffs
from controller.store.migrate import head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.deploy.dag_set import DagSet
    from controller.deploy.outputs import Deployment
    from controller.deploy.records import Revision
    from controller.deploy.request import Request
    from controller.deploy.step import Say, Step
    from controller.deploy.variables import Variables


@dataclass(frozen=True, slots=True)
class Source:
    """What is deployed, as it lies in the working folder; read before anything is touched."""

    revision: Revision
    dags: DagSet
    variables: Variables


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a deployment came to; `changed` is false when there was nothing to do."""

    deployment: Deployment
    record: Record
    changed: bool


def deploy(request: Request, say: Say) -> Outcome:
    """Bring an environment to what the working folder says; raise SetpointError with the step that failed."""
    source, aws = _prepare(request)
    bootstrap = Bootstrap(aws, request.root, source.variables)
    run([bootstrap], say)
    with leased(aws.s3, bootstrap.bucket, request.environment, say) as said:
        terraform = _terraform(request)
        run([terraform], said)
        deployment = environment(terraform.root)
        records = Records(aws.s3, deployment.data_bucket)
        history = History.read(records)
        images = _images(request, aws, deployment, source, history)
        run([images], said)
        steps = Steps.make(request, aws, deployment, source, history, images.found)
        if history.clean and history.previous and not terraform.changed and not steps.changes():
            said("nothing to do: everything is as the last deployment left it")
            return Outcome(deployment, history.previous, changed=False)
        record = _record(source, history.number, images.found)
        return Outcome(deployment, recorded(records, record, steps.run, said), changed=True)


def plan(request: Request, say: Say) -> int:
    """Say what each step would change, as far as can be told without changing anything; return how many changes."""
    source, aws = _prepare(request)
    total = show([Bootstrap(aws, request.root, source.variables)], say)
    if not (request.root / BACKEND_FILE).is_file():
        say(
            "terraform, images, migrations, dags, services: all of it is new, and planned once the state bucket is there"
        )
        return total + 1
    terraform = _terraform(request)
    total += show([terraform], say)
    if terraform.root.deployment() is None:
        say("images, migrations, dags, services: all of it is new, and planned once Terraform has applied")
        return total + 1
    deployment = environment(terraform.root)
    history = History.read(Records(aws.s3, deployment.data_bucket))
    images = _images(request, aws, deployment, source, history)
    total += show([images], say)
    if not images.found:
        say("migrations, dags, services: planned once the images are there")
        return total
    total += show(Steps.make(request, aws, deployment, source, history, images.found).all, say)
    for family in sorted(terraform.families):
        say(f"  ~ {family}: a new definition as well, once Terraform has applied its template")
    return total + len(terraform.families)


def environment(root: Root) -> Deployment:
    """Return the environment as Terraform's state has it; raise Refused before its first apply."""
    output = root.deployment()
    if output is None:
        raise Refused("Terraform's state has no output `deployment`; deploy this environment first")
    return outputs.parse(output)


def roller(aws: Aws, deployment: Deployment, request: Request) -> Roller:
    """Return what runs tasks and rolls services of an environment."""
    ecs = Ecs(aws.ecs, deployment.cluster, deployment.private_subnets)
    return Roller(ecs, OneOffs(ecs, aws.logs, request.patience), request.patience, deployment.dispatcher_tasks)


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps inside AWS, in their order."""

    migrate: Migrate
    dags: SyncDags
    services: RollServices

    @classmethod
    def make(
        cls,
        request: Request,
        aws: Aws,
        deployment: Deployment,
        source: Source,
        history: History,
        chosen: Mapping[str, str],
    ) -> Steps:
        """Return the steps of one deployment."""
        rolls = roller(aws, deployment, request)
        this = Run(history.number, history.previous, history.clean, deployment, rolls)
        targets = Templates(rolls.ecs, chosen, {"setpoint:name": deployment.name})
        dags = SyncDags(
            run=this,
            s3=aws.s3,
            key=source.dags.key,
            names=source.dags.names,
            data=source.dags.data,
            store=lambda: dag_set.store(data_store(aws, deployment.data_bucket), source.dags),
            dispatcher=lambda: targets.obtain(deployment.dispatcher),
        )
        return cls(Migrate(this, targets), dags, RollServices(this, targets))

    @property
    def all(self) -> list[Step]:
        """Return them in order."""
        return [self.migrate, self.dags, self.services]

    def changes(self) -> bool:
        """Tell whether any would change something."""
        return any(step.plan() for step in self.all)

    def run(self, record: Record, say: Say) -> Record:
        """Run them and return the record with what they did."""
        run(self.all, say)
        return record.with_services(self.services.done, self.migrate.targets.hash(self.migrate.run.deployment.migrate))


def _prepare(request: Request) -> tuple[Source, Aws]:
    revision = git.revision(request.project)
    if request.build and not request.tag and (revision.dirty or not revision.commit):
        raise Refused("images are called after the git commit, and tracked files differ from it; commit, or give --tag")
    source = Source(revision, dag_set.read(request.dags), variables.read(request.root, request.environment))
    return source, Aws.connect(source.variables.region)


def _terraform(request: Request) -> TerraformStep:
    zips = (request.terraform.parent / "build" / "lambda").resolve()
    package = package_command(zips) if request.package else []
    return TerraformStep(Root(request.root), package, request.confirm, request.allow_destroy)


def _images(request: Request, aws: Aws, deployment: Deployment, source: Source, history: History) -> ChooseImages:
    keys = {workload.image for workload in (*deployment.services.values(), deployment.migrate)}
    repositories = {key: url for key, url in deployment.repositories.items() if key in keys}
    previous = history.previous.images if history.previous else {}
    kept = previous if request.keep_images else {}
    tag = "" if kept else request.tag or source.revision.commit
    return ChooseImages(
        aws.ecr, repositories, Wanted(request.images, tag, kept), previous, request.project if request.build else None
    )


def _record(source: Source, number: int, chosen: Mapping[str, str]) -> Record:
    return Record(
        number=number,
        status=Status.STARTED,
        started_at=wall_clock(),
        git=source.revision,
        terraform=Terraform(dict(source.variables.digests), dict(source.variables.written)),
        images=dict(chosen),
        migration_head=head(),
        dags=source.dags.key,
        dag_names=source.dags.names,
    )
