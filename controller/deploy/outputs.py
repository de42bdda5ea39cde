"""What Terraform tells a deployment: the output `deployment` of an environment's root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from controller.deploy.step import StepFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

DISPATCHER = "dispatcher"


class _Output(BaseModel):
    # Leniently: a newer root may say more.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Workload(_Output):
    """A family of task definitions, and what of it a deployment fills in."""

    family: str
    container: str
    image: str | None
    """The key of its repository; None: the template names a whole image."""
    template: str
    """The ARN of the definition that Terraform registered."""
    security_group: str


class Service(Workload):
    """A service of the cluster."""

    service: str
    kind: Literal["dispatcher", "worker"]


class Secrets(_Output):
    """Names of secrets."""

    admin_token: str
    events_token: str


class Deployment(_Output):
    """An environment as it is provisioned."""

    name: str
    environment: str
    region: str
    account: str
    cluster: str
    api_url: str
    api_server_name: str
    data_bucket: str
    private_subnets: tuple[str, ...]
    dispatcher_tasks: int = 1
    repositories: dict[str, str]
    services: dict[str, Service]
    migrate: Workload
    secrets: Secrets

    @property
    def dispatcher(self) -> Service:
        """Return the dispatcher's service."""
        return self.services[DISPATCHER]

    def ordered(self) -> list[Service]:
        """Return the services in the order of a deployment: workers talk to a dispatcher that is at least as new."""
        return sorted(self.services.values(), key=lambda s: (s.kind != DISPATCHER, s.service))


def parse(output: Mapping[str, Any]) -> Deployment:
    """Return the environment that an output describes; raise StepFailed if it says too little."""
    try:
        found = Deployment.model_validate(output)
    except ValidationError as error:
        raise StepFailed(f"Terraform's output `deployment` does not fit this version: {error}") from error
    if DISPATCHER not in found.services:
        raise StepFailed("Terraform's output `deployment` names no service `dispatcher`")
    return found
