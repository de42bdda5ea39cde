"""An applied environment: its resources with their values, and what its roles say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.terraform.cloud import LocalCloud, Terraform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ENVIRONMENTS = ("dev", "prod")
# One worker has the cloud, and its first test waits for the apply: RDS alone makes the provider wait 80 s.
ON_THE_CLOUD = [pytest.mark.xdist_group("terraform"), pytest.mark.timeout(1500), pytest.mark.slow]


@dataclass(frozen=True)
class Applied:
    """The state that an apply left, whatever happens to the cloud afterwards."""

    terraform: Terraform
    state: Mapping[str, Any]
    output: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return what everything of this environment is called after."""
        return str(self.deployment["name"])

    @property
    def deployment(self) -> Mapping[str, Any]:
        """Return what a deployment is told."""
        deployment: Mapping[str, Any] = self.output["deployment"]
        return deployment

    @cached_property
    def _resources(self) -> list[Mapping[str, Any]]:
        return [r for r in _walk(self.state["values"]["root_module"]) if r["mode"] == "managed"]

    def all(self, kind: str) -> list[Mapping[str, Any]]:
        """Return the values of every resource of a type."""
        return [resource["values"] for resource in self._resources if resource["type"] == kind]

    def types(self) -> set[str]:
        """Return the types of resources that there are."""
        return {resource["type"] for resource in self._resources}

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return the one container of each family."""
        found = {}
        for definition in self.all("aws_ecs_task_definition"):
            (found[definition["family"]],) = json.loads(definition["container_definitions"])
        return found

    def container_environments(self) -> dict[str, dict[str, str]]:
        """Return the variables of each family's container."""
        return {
            family: {entry["name"]: entry["value"] for entry in container["environment"]}
            for family, container in self.containers().items()
        }

    def statements(self, role: str) -> list[dict[str, Any]]:
        """Return the statements of a role's own policies."""
        policies = [p for p in self.all("aws_iam_role_policy") if p["role"] == f"{self.name}-{role}"]
        assert policies, f"{self.name}-{role} has no policy"
        return [statement for policy in policies for statement in json.loads(policy["policy"])["Statement"]]


def apply(cloud: LocalCloud, folder: Path, name: str) -> Applied:
    """Apply an environment with a certificate, as a deployment gives it one."""
    terraform = Terraform.copy(folder, f"environments/{name}", cloud.environment)
    variables = {"certificate_arn": _certificate(cloud, name), "api_ca_pem": ""}
    (terraform.root / "bootstrap.auto.tfvars.json").write_text(json.dumps(variables))
    terraform.init()
    terraform.apply()
    return Applied(terraform, terraform.show(None), terraform.output())


def client(cloud: LocalCloud, service: str) -> Any:
    """Return a client of a service of the cloud."""
    make: Any = boto3.client
    return make(
        service,
        endpoint_url=cloud.environment.get(f"AWS_ENDPOINT_URL_{service.upper()}", cloud.url),
        region_name=cloud.environment["AWS_REGION"],
        aws_access_key_id=cloud.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=cloud.environment["AWS_SECRET_ACCESS_KEY"],
    )


def _certificate(cloud: LocalCloud, name: str) -> str:
    answer = client(cloud, "acm").request_certificate(DomainName=f"dispatcher.setpoint-{name}.internal")
    return str(answer["CertificateArn"])


def _walk(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from module.get("resources", ())
    for child in module.get("child_modules", ()):
        yield from _walk(child)
