"""A project deployed to AWS, changed, broken and taken back: the real Terraform, real tasks, a real Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from e2e_cloud import Cloud

from tests.terraform.cloud import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.xdist_group("deployment"),
    pytest.mark.timeout(1_500),
]


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    if reason := missing():
        pytest.skip(reason)
    pytest.importorskip("moto", reason="no moto: make test installs it from requirements-moto.lock")
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


def test_deploy_change_break_and_take_back(cloud: Cloud) -> None:
    # Terraform makes the repositories; until they hold images, nothing can run.
    first = cloud.deploy()
    assert first.status != 0
    assert "these images are not in ECR; push them, or let --build do it" in first.said, first.said

    cloud.push()
    done = cloud.deploy()
    assert done.status == 0, done.said + cloud.log()
    ran = cloud.ask("trigger", "hello", "--wait")
    assert ran.status == 0, ran.said + cloud.log()

    again = cloud.deploy()
    assert again.status == 0, again.said
    assert "nothing to do" in again.said

    # An edit of a DAG touches no service.
    before = cloud.service("dispatcher")["taskDefinition"]
    cloud.edit("dags/hello/dag.yaml", "name: greet,", "name: greet, priority: 7,")
    planned = cloud.run("deploy", "--env", "dev", "--no-package", "--plan", *cloud._images())
    assert "dag/hello" in planned.said, planned.said
    changed = cloud.deploy()
    assert changed.status == 0, changed.said
    assert "priority: 7" in cloud.ask("get", "dag/hello", "-o", "yaml").said
    assert cloud.service("dispatcher")["taskDefinition"] == before

    # A health check that never passes: ECS takes the last deployment, and nobody notices but us.
    probe = '["CMD", "python", "-m", "controller.probe"]'
    cloud.edit("terraform/modules/ecs/workloads.tf", probe, '["CMD", "false"]')
    broken = cloud.deploy()
    assert broken.status != 0
    assert "ECS gave up the deployment of dispatcher" in broken.said, broken.said + cloud.log()
    assert cloud.service("dispatcher")["taskDefinition"] == before
    assert cloud.ask("get", "dags").status == 0
    cloud.edit("terraform/modules/ecs/workloads.tf", '["CMD", "false"]', probe)

    # Back to the first success: its DAGs, as a new generation, and its services.
    listed = cloud.run("rollback", "--env", "dev", "--list")
    assert listed.status == 0, listed.said
    number = next(line.split()[0] for line in listed.said.splitlines() if "succeeded" in line)
    back = cloud.run("rollback", "--env", "dev", "--to", number, "--yes")
    assert back.status == 0, back.said + cloud.log()
    shown = cloud.ask("get", "dag/hello", "-o", "yaml")
    assert "priority: 7" not in shown.said
    assert cloud.ask("trigger", "hello", "--wait").status == 0
