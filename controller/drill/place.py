"""Where a drill takes place: the environment of a context, and its AWS."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.cli.errors import CliError, Exit
from controller.cli.target import CONFIG_FILE, find_config
from crds.names import DEFAULT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_sqs import SQSClient

LOCAL = "local"
_CLUSTER = "setpoint"


@dataclass(frozen=True, slots=True)
class Place:
    """An environment and how its AWS is reached; without endpoints it is the real one."""

    context: str
    environment: str
    cluster: str = _CLUSTER
    prefix: str = DEFAULT_PREFIX
    region: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    production: bool = False

    @property
    def local(self) -> bool:
        """Tell whether `setpoint up` runs it, so that its processes are this machine's."""
        return self.environment == LOCAL

    def ecs(self) -> ECSClient:
        """Return a client of its ECS."""
        client: ECSClient = self._client("ecs")
        return client

    def sqs(self) -> SQSClient:
        """Return a client of its SQS."""
        client: SQSClient = self._client("sqs")
        return client

    def _client(self, service: str) -> Any:
        import boto3  # noqa: PLC0415 - half a second that a refusal does not need
        from botocore.config import Config  # noqa: PLC0415

        config = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5})
        # What has endpoints of its own takes any keys; a person's real ones stay out of it.
        key = "local" if self.endpoints else None
        session: Any = boto3.Session(key, key, region_name=self.region)
        return session.client(service, endpoint_url=self.endpoints.get(service), config=config)


def find(context: str | None, folder: Path | None = None) -> Place:
    """Return the place of a context, by default the current one; raise CliError if it cannot be told."""
    config = find_config(folder)
    name = context or os.environ.get("SETPOINT_CONTEXT") or (config.current if config else "")
    said = config.contexts.get(name) if config else None
    if config is None or said is None or (os.environ.get("SETPOINT_URL") and not context):
        raise CliError(
            f"a drill must know which environment it breaks: name a context of {CONFIG_FILE} by --context "
            "(`setpoint up` and `setpoint deploy` write one; SETPOINT_URL alone does not tell)",
            Exit.USAGE,
        )
    aws: dict[str, Any] = dict(said.get("aws") or {})
    environment = str(said.get("environment") or name)
    if not aws.get("endpoints" if environment == LOCAL else "region"):
        raise CliError(
            f"context {name} of {config.path} does not say how its AWS is reached; "
            f"{'`setpoint up`' if environment == LOCAL else '`setpoint deploy`'} of this version writes it",
            Exit.USAGE,
        )
    return Place(
        context=name,
        environment=environment,
        cluster=str(aws.get("cluster") or _CLUSTER),
        prefix=str(aws.get("prefix") or DEFAULT_PREFIX),
        region=aws.get("region"),
        endpoints=dict(aws.get("endpoints") or {}),
        production=bool(said.get("production", False)),
    )
