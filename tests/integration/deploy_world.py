"""A small environment on this machine, as Terraform would leave it: the real binary with its remote state, an ECS that runs
tasks as processes, moto for the rest. Its programs are stand-ins; what syncs DAGs is the real task on a real database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from controller.deploy import pipeline, rollback
from controller.deploy.records import Records
from controller.deploy.request import Request
from controller.deploy.waiting import Patience
from tests.terraform.cloud.account import ACCOUNT

if TYPE_CHECKING:
    from controller.deploy.pipeline import Outcome

ROOT = Path(__file__).parents[2]
PATIENCE = Patience(timedelta(milliseconds=100), timedelta(seconds=60), timedelta(seconds=90), timedelta(seconds=10))
PROGRAM = """
import os, sys, time
if "--check" in sys.argv:
    sys.exit(int(os.environ.get("CHECK_CODE", "0")))
time.sleep(3600)
"""
HEALTH = "import os, sys; sys.exit(os.environ.get('BROKEN') == '1')"
MIGRATE = "import os, sys; print('migrated'); sys.exit(int(os.environ.get('MIGRATE_CODE', '0')))"
POOLS = "kind: WorkerPool\nmetadata: {name: python}\nspec: {runtime: python}\n"
DAG = """\
kind: Dag
metadata: {name: hello}
spec:
  tasks: [{name: greet, runtime: python, with: {entrypoint: "hello:greet"}}]
"""
MAIN = """\
terraform {
  backend "s3" {}
}
variable "name" { type = string }
variable "certificate_arn" { type = string }
variable "api_ca_pem" { type = string }
output "deployment" { value = jsondecode(file("deployment.json")) }
"""


def client(service: str) -> Any:
    make: Any = boto3.client
    return make(service)


@dataclass
class World:
    """One environment and the folder that it is deployed from."""

    name: str
    folder: Path
    dsn: str
    lines: list[str] = field(default_factory=list)
    variables: dict[str, dict[str, str]] = field(default_factory=dict)

    def make(self) -> None:
        """Make what Terraform makes before the first deployment."""
        self.root.mkdir(parents=True)
        (self.root / "main.tf").write_text(MAIN)
        (self.root / "terraform.tfvars").write_text(f'name = "{self.name}"\n')
        (self.folder / "dags" / "hello").mkdir(parents=True)
        (self.folder / "dags" / "pools.yaml").write_text(POOLS)
        (self.folder / "dags" / "hello" / "dag.yaml").write_text(DAG)
        (self.folder / "dags" / "hello" / "hello.py").write_text("def greet():\n    print('hello')\n")
        client("s3").create_bucket(Bucket=self.bucket)
        client("ecs").create_cluster(clusterName=self.name)
        for key in ("dispatcher", "worker-python"):
            client("ecr").create_repository(repositoryName=f"{self.name}/{key}")
            self.push(key, "one")
        self.provision()
        for service, definition in (("dispatcher", "dispatcher"), ("python", "python")):
            client("ecs").create_service(
                cluster=self.name,
                serviceName=service,
                taskDefinition=f"{self.name}-{definition}",
                desiredCount=0 if service == "dispatcher" else 1,
                deploymentConfiguration={
                    "maximumPercent": 200,
                    "minimumHealthyPercent": 100,
                    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
                },
            )

    @property
    def root(self) -> Path:
        return self.folder / "terraform" / "environments" / "dev"

    @property
    def bucket(self) -> str:
        return f"{self.name}-data"

    @property
    def records(self) -> Records:
        return Records(client("s3"), self.bucket)

    def push(self, key: str, tag: str) -> str:
        """Push an image and return its digest."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"digest": f"sha256:{tag.encode().hex():0>64}", "mediaType": "x", "size": 1},
            "layers": [{"digest": f"sha256:{tag.encode().hex():0>64}", "mediaType": "x", "size": 1}],
        }
        answer = client("ecr").put_image(
            repositoryName=f"{self.name}/{key}", imageManifest=json.dumps(manifest), imageTag=tag
        )
        return str(answer["image"]["imageId"]["imageDigest"])

    def provision(self, **changed: dict[str, str]) -> None:
        """Register each family's template, with variables changed, and say so in the output."""
        self.variables |= changed
        templates = {
            "dispatcher": self._template("dispatcher", "dispatcher", PROGRAM, health=True),
            "python": self._template("python", "worker-python", PROGRAM, health=False),
            "migrate": self._template("migrate", "dispatcher", MIGRATE, health=False),
        }
        (self.root / "deployment.json").write_text(json.dumps(self._deployment(templates)))

    def request(self, **changed: Any) -> Request:
        given: dict[str, Any] = {"tag": "one", "package": False, "patience": PATIENCE, **changed}
        return Request("dev", self.folder / "terraform", self.folder / "dags", self.folder, lambda _: True, **given)

    def deploy(self, **changed: Any) -> Outcome:
        self.lines.clear()
        return pipeline.deploy(self.request(**changed), self.lines.append)

    def plan(self, **changed: Any) -> int:
        self.lines.clear()
        return pipeline.plan(self.request(**changed), self.lines.append)

    def rollback(self, to: int | None = None, *, terraform: bool = False) -> Outcome:
        self.lines.clear()
        return rollback.rollback(self.request(), to, self.lines.append, terraform=terraform)

    def git(self, *arguments: str) -> None:
        """Run git in the folder, without a person's own settings."""
        who = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=self.folder, check=True, capture_output=True)

    def commit(self) -> None:
        """Commit what is in the folder."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "state")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `setpoint` in the folder, as a person does."""
        command = [sys.executable, "-m", "controller.cli.main", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def definition(self, service: str) -> str:
        """Return the ARN of the definition that a service is pointed at."""
        (found,) = client("ecs").describe_services(cluster=self.name, services=[service])["services"]
        return str(found["taskDefinition"])

    def revisions(self, family: str) -> int:
        """Return how many definitions a family has."""
        listed = client("ecs").list_task_definitions(familyPrefix=f"{self.name}-{family}")
        return len(listed["taskDefinitionArns"])

    def running(self, service: str) -> list[str]:
        """Return the definitions of a service's tasks."""
        ecs = client("ecs")
        arns = ecs.list_tasks(cluster=self.name, serviceName=service)["taskArns"]
        tasks = ecs.describe_tasks(cluster=self.name, tasks=arns)["tasks"] if arns else []
        return [str(task["taskDefinitionArn"]) for task in tasks]

    def destroy(self) -> None:
        """Stop what runs."""
        for service in ("dispatcher", "python"):
            client("ecs").delete_service(cluster=self.name, service=service, force=True)

    def _template(self, family: str, repository: str, program: str, *, health: bool) -> str:
        environment = {
            "SETPOINT_DSN": self.dsn,
            "SETPOINT_OBJECT_STORE": f"s3://{self.bucket}",
            "AWS_ALLOW_HTTP": "true",
            **self.variables.get(family, {}),
        }
        check = {
            "command": ["CMD", "python", "-c", HEALTH],
            "interval": 5,
            "timeout": 5,
            "retries": 1,
            "startPeriod": 0,
        }
        container = {
            "name": family,
            "image": f"{self.repository(repository)}:template",
            "essential": True,
            "command": ["python", "-c", program],
            "environment": [{"name": key, "value": value} for key, value in environment.items()],
            **({"healthCheck": check} if health else {}),
        }
        answer = client("ecs").register_task_definition(
            family=f"{self.name}-{family}", containerDefinitions=[container], cpu="256", memory="512"
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def repository(self, key: str) -> str:
        """Return the URL of a repository."""
        return f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/{self.name}/{key}"

    def _deployment(self, templates: dict[str, str]) -> dict[str, Any]:
        def workload(family: str, image: str) -> dict[str, Any]:
            return {
                "family": f"{self.name}-{family}",
                "container": family,
                "image": image,
                "template": templates[family],
                "security_group": "sg-1",
            }

        return {
            "name": self.name,
            "environment": "dev",
            "region": "us-east-1",
            "account": ACCOUNT,
            "cluster": self.name,
            "api_url": "https://127.0.0.1",
            "api_server_name": f"dispatcher.{self.name}.internal",
            "data_bucket": self.bucket,
            "private_subnets": ["subnet-1"],
            "dispatcher_tasks": 1,
            "repositories": {key: self.repository(key) for key in ("dispatcher", "worker-python")},
            "services": {
                "dispatcher": {"service": "dispatcher", "kind": "dispatcher", **workload("dispatcher", "dispatcher")},
                "python": {"service": "python", "kind": "worker", **workload("python", "worker-python")},
            },
            "migrate": workload("migrate", "dispatcher"),
            "secrets": {"admin_token": f"{self.name}/admin-token", "events_token": f"{self.name}/events-token"},
        }
