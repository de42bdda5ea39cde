"""The dispatcher's settings, read once in main from SETPOINT_* variables; an unknown one is an error."""

from __future__ import annotations

import os
from difflib import get_close_matches
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from controller.api.addresses import networks
from crds.login import DatabaseAuth

PREFIX = "SETPOINT_"


class Settings(BaseSettings):
    """Where things are; boto3 finds AWS by its own variables (AWS_REGION, AWS_ENDPOINT_URL_SQS, …)."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    dsn: str = Field(description="libpq conninfo of the dispatcher's login")
    database_auth: DatabaseAuth = DatabaseAuth.PASSWORD
    object_store: str = Field(description="file:///folder or s3://bucket/prefix")
    cluster: str = "setpoint"
    name_prefix: str = Field(default="setpoint", description="what the names of queues and functions begin with")
    host: str = "127.0.0.1"
    port: int = 8080
    holder: str = Field(default="", description="the lease holder's name; by default host and process id")
    scale_pools: bool = Field(
        default=False, description="set the services' counts; on AWS Application Auto Scaling does"
    )
    signing_key_secret: str = "setpoint/signing-key"  # noqa: S105 - the name of a secret
    admin_token_secret: str = "setpoint/admin-token"  # noqa: S105 - the name of a secret
    pool_token_prefix: str = "setpoint/pools/"  # noqa: S105 - the prefix of names of secrets
    events_token_secret: str = "setpoint/events-token"  # noqa: S105 - the name of a secret
    public_url: str = Field(default="", description="where people reach the API, for links in notifications")
    lambda_failures_queue: str = Field(
        default="", description="where Lambda puts invocations that failed; empty: it is not looked at"
    )
    metrics_env: str = Field(
        default="", description="the environment's name in CloudWatch; empty: nothing is published"
    )
    rate_limit: float = Field(default=100, ge=0, le=100_000, description="requests a second of one caller; 0: no limit")
    rate_burst: int = Field(default=1_000, ge=1, le=1_000_000, description="requests at once of one caller")
    trusted_proxies: str = Field(default="", description="networks whose X-Forwarded-For is believed, as 10.0.0.0/16")
    oidc_issuer: str = Field(default="", description="the identity provider; empty: only our own tokens")
    oidc_audience: str = Field(default="", description="whom the provider's tokens must be for")
    oidc_role_claim: str = "setpoint_role"
    oidc_roles: dict[str, Literal["viewer", "operator", "admin"]] = Field(
        default={}, description='what values of the claim mean, as {"data-platform": "admin"}'
    )
    oidc_scope_claim: str = Field(default="", description="the claim with a label selector; empty: nobody is confined")
    oidc_name_claim: str = Field(default="", description="the claim with the name; empty: email, then sub")
    connections: int = Field(default=12, ge=8, le=100)
    log_level: str = "info"

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        networks(self.trusted_proxies)
        if self.oidc_issuer and not self.oidc_audience:
            raise ValueError("oidc_issuer needs oidc_audience: else every token of the provider would open this system")
        return self


class UnknownSetting(ValueError):
    """A SETPOINT_* variable that no setting reads."""


def read() -> Settings:
    """Return the settings; raise UnknownSetting or pydantic's ValidationError."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
            raise UnknownSetting(f"{name} is no setting of the dispatcher{hint}")
    return Settings()
