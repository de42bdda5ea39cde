"""`setpoint deploy` and `setpoint rollback` against an environment on this machine."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest

from controller.deploy import variables
from controller.deploy.aws import Aws, wall_clock
from controller.deploy.bootstrap import Bootstrap, state_bucket
from controller.deploy.lease import LEASE, Lease, leased
from controller.deploy.records import Status
from controller.deploy.step import Refused, StepFailed
from controller.deploy.terraform import Root
from controller.deploy.variables import BOOTSTRAP_FILE
from tests.integration.deploy_world import DAG, World, client
from tests.terraform.cloud import Backend, LocalCloud, missing
from tests.terraform.cloud.account import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Database

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=str(missing()))]
NUMBERS = count(1)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    pytest.importorskip("moto", reason="no moto: make test installs it from requirements-moto.lock")
    with LocalCloud.start(tmp_path_factory.mktemp("cloud"), ecs=Backend.OURS) as started:
        yield started


@pytest.fixture
def world(cloud: LocalCloud, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name, value in {**cloud.environment, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}.items():
        monkeypatch.setenv(name, value)
    made = World(f"setpoint-t{next(NUMBERS)}", tmp_path / "project", database.conninfo)
    made.make()
    yield made
    made.destroy()


def test_a_second_deployment_is_a_no_op(world: World, database: Database) -> None:
    first = world.deploy()
    assert first.changed
    assert first.record.status is Status.SUCCEEDED
    assert world.definition("dispatcher") == first.record.services["dispatcher"].definition
    with database.connect() as connection:
        assert connection.execute("SELECT name FROM resource WHERE kind = 'Dag'").fetchall() == [("hello",)]

    before = [world.revisions(family) for family in ("dispatcher", "python", "migrate")]
    assert before == [2, 2, 2]
    second = world.deploy()
    assert not second.changed
    assert world.records.numbers() == [1]
    assert [world.revisions(family) for family in ("dispatcher", "python", "migrate")] == before
    assert world.plan() == 0


def test_a_plan_of_what_was_never_deployed_changes_nothing(world: World) -> None:
    assert world.plan() > 0
    assert f"  + bucket {state_bucket(world.name, ACCOUNT)} for Terraform's state" in world.lines
    assert state_bucket(world.name, ACCOUNT) not in {b["Name"] for b in client("s3").list_buckets()["Buckets"]}
    assert sorted(path.name for path in world.root.iterdir()) == ["deployment.json", "main.tf", "terraform.tfvars"]


def test_a_plan_names_what_each_step_would_change(world: World) -> None:
    world.deploy()
    (world.folder / "dags/hello/dag.yaml").write_text(DAG.replace("greet,", "greet, priority: 7,"))
    given = {"worker-python": world.push("worker-python", "two")}
    images = {key: f"{world.repository(key)}@{digest}" for key, digest in given.items()}
    assert world.plan(images=images) == 3, world.lines
    assert "  ~ dag/hello: spec.tasks" in world.lines
    assert any(line.startswith("  ~ python: another definition") for line in world.lines)
    assert "migrations: nothing to change" in world.lines
    assert world.revisions("python") == 2
    assert world.records.numbers() == [1]


def test_a_canary_that_fails_stops_before_its_service(world: World) -> None:
    before = world.deploy().record
    world.provision(dispatcher={"CHECK_CODE": "1"})
    with pytest.raises(StepFailed, match="exit code 1") as failure:
        world.deploy()
    assert failure.value.step == "services"
    assert world.definition("dispatcher") == before.services["dispatcher"].definition
    assert world.records.get(2).status is Status.FAILED

    world.provision(dispatcher={"CHECK_CODE": "0"})
    assert world.deploy().changed
    assert world.records.get(3).status is Status.SUCCEEDED


def test_a_migration_that_fails_stops_before_everything_else(world: World) -> None:
    world.provision(migrate={"MIGRATE_CODE": "3"})
    for _ in range(2):
        with pytest.raises(StepFailed, match="exit code 3") as failure:
            world.deploy()
        assert failure.value.step == "migrations"
    assert world.running("dispatcher") == []
    # The second try had the same definition to run.
    assert world.revisions("migrate") == 3


def test_the_circuit_breaker_takes_a_broken_deployment_back(world: World) -> None:
    before = world.deploy().record.services["dispatcher"].definition
    world.provision(dispatcher={"BROKEN": "1"})
    with pytest.raises(StepFailed, match="ECS gave up the deployment of dispatcher"):
        world.deploy()
    assert world.definition("dispatcher") == before
    assert before in world.running("dispatcher")
    assert world.records.get(2).failure.startswith("services: ECS gave up")


def test_a_rollback_restores_definitions_and_dags(world: World, database: Database) -> None:
    first = world.deploy().record
    world.provision(dispatcher={"LEVEL": "debug"})
    (world.folder / "dags/hello/dag.yaml").write_text(DAG.replace("greet,", "greet, priority: 7,"))
    for key in ("dispatcher", "worker-python"):
        world.push(key, "two")
    second = world.deploy(tag="two").record
    assert second.services != first.services

    back = world.rollback(to=1).record
    assert (back.number, back.source, back.status) == (3, 1, Status.SUCCEEDED)
    assert back.services == first.services
    assert world.definition("dispatcher") == first.services["dispatcher"].definition
    with database.connect() as connection:
        rows = connection.execute("SELECT generation, spec FROM resource WHERE kind = 'Dag'").fetchall()
    ((generation, spec),) = rows
    assert generation == 3
    assert "priority" not in spec["tasks"][0]

    assert world.deploy(tag="two").record.services == second.services


def test_a_rollback_needs_something_to_go_back_to(world: World) -> None:
    world.deploy()
    with pytest.raises(Refused, match="no deployment before number 1"):
        world.rollback()
    with pytest.raises(Refused, match="there is no deployment 7"):
        world.rollback(to=7)


def test_one_deployment_at_a_time(world: World) -> None:
    world.deploy()
    bucket = state_bucket(world.name, ACCOUNT)
    with leased(client("s3"), bucket, "dev", print), pytest.raises(Refused, match="deploys this environment"):
        world.deploy()
    assert not world.deploy().changed


def test_images_that_ecr_does_not_have_are_named(world: World) -> None:
    with pytest.raises(StepFailed, match="are not in ECR") as failure:
        world.deploy(tag="two")
    assert failure.value.step == "images"
    assert len(failure.value.details) == 2
    assert world.records.numbers() == []


def test_the_command_explains_itself_and_writes_a_context(world: World) -> None:
    client("secretsmanager").create_secret(Name=f"{world.name}/admin-token", SecretString="only-for-tests")
    refused = world.command("deploy", "--env", "prod")
    assert (refused.returncode, "environments are dev" in refused.stderr) == (4, True)
    unasked = world.command("rollback", "--env", "dev", "--tag")
    assert unasked.returncode == 2

    done = world.command("deploy", "--env", "dev", "--no-package", "--yes", "--tag", "one", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["deployment"]["status"] == "succeeded"
    assert "only-for-tests" not in done.stdout + done.stderr
    context = world.folder / ".setpoint/config.json"
    assert context.stat().st_mode & 0o077 == 0
    assert json.loads(context.read_text())["contexts"]["dev"]["serverName"] == f"dispatcher.{world.name}.internal"

    listed = world.command("rollback", "--env", "dev", "--list", "-o", "json")
    assert [record["number"] for record in json.loads(listed.stdout)] == [1]


def test_bootstrap_is_done_once_and_the_certificate_renewed_in_place(world: World) -> None:
    said: list[str] = []
    given = variables.read(world.root, "dev")
    bootstrap = Bootstrap(Aws.connect("us-east-1"), world.root, given, lambda: wall_clock() - timedelta(days=800))
    bootstrap.apply(said.append)
    written = json.loads((world.root / BOOTSTRAP_FILE).read_text())
    assert "PRIVATE KEY" not in "".join(path.read_text() for path in world.root.iterdir())
    assert bootstrap.plan() == []

    s3, bucket = client("s3"), bootstrap.bucket
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    assert "aws:SecureTransport" in s3.get_bucket_policy(Bucket=bucket)["Policy"]

    # Another folder, or another person, finds the same certificate.
    (world.root / BOOTSTRAP_FILE).unlink()
    bootstrap.apply(said.append)
    assert json.loads((world.root / BOOTSTRAP_FILE).read_text()) == written

    later = Bootstrap(bootstrap.aws, world.root, given)
    assert len(later.plan()) == 1
    later.apply(said.append)
    renewed = json.loads((world.root / BOOTSTRAP_FILE).read_text())
    assert renewed["certificate_arn"] == written["certificate_arn"]
    assert renewed["api_ca_pem"] != written["api_ca_pem"]
    assert later.plan() == []


def test_an_environment_with_a_domain_gets_no_certificate(world: World) -> None:
    with (world.root / "terraform.tfvars").open("a") as file:
        file.write('domain = {\n  name = "setpoint.example.com"\n}\n')
    bootstrap = Bootstrap(Aws.connect("us-east-1"), world.root, variables.read(world.root, "dev"))
    bootstrap.apply(print)
    assert json.loads((world.root / BOOTSTRAP_FILE).read_text()) == {}


def test_a_lease_that_ran_out_is_taken_over(world: World) -> None:
    s3, key = client("s3"), "dev/deploy-lease.json"
    old = Lease(s3, world.bucket, key, "a laptop that was closed", wall_clock)
    old.take()
    with pytest.raises(Refused, match="a laptop that was closed deploys"):
        Lease(s3, world.bucket, key, "second", wall_clock).take()
    new = Lease(s3, world.bucket, key, "second", lambda: wall_clock() + LEASE)
    new.take()
    with pytest.raises(StepFailed, match="was taken by another"):
        old.renew()
    old.release()
    new.renew()


def test_a_rollback_plans_the_terraform_of_then_against_the_state_of_now(world: World) -> None:
    world.git("init", "-q")
    (world.folder / ".gitignore").write_text("backend.hcl\nbootstrap.auto.tfvars.json\n.terraform/\n")
    world.commit()
    world.deploy()
    then = (world.root / "deployment.json").read_text()
    world.provision(dispatcher={"LEVEL": "debug"})
    world.commit()
    assert world.deploy().record.git.dirty is False

    assert world.rollback(terraform=True).record.source == 1
    assert "  done" in "".join(world.lines)
    assert Root(world.root).deployment() == json.loads(then)

    world.provision(dispatcher={"LEVEL": "info"})
    assert world.deploy().record.git.dirty is True
    with pytest.raises(Refused, match="files that were not committed"):
        world.rollback(to=4, terraform=True)
