"""The settings of a worker process, read once from the environment."""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeVar

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from crds.login import DatabaseAuth
from crds.meta import DEFAULT_NAMESPACE, Name, Namespace
from crds.protocol import MAX_BATCH

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "SETPOINT_"


class Settings(BaseSettings):
    """What a worker must know: its pool, its queue, its dispatcher, and where data lies."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=True
    )

    url: Annotated[str, Field(pattern=r"^https?://", description="The dispatcher.")]
    namespace: Namespace = DEFAULT_NAMESPACE
    pool: Name
    pool_token: SecretStr | None = None
    pool_token_secret: str | None = Field(default=None, description="Its name in Secrets Manager.")
    queue_url: str
    slots: Annotated[int, Field(ge=1, le=MAX_BATCH)] = 2
    object_store: Annotated[str, Field(pattern=r"^(file|s3)://")]
    api_ca: str | None = Field(
        default=None, description="PEM text of the authority behind the dispatcher's certificate."
    )
    database_auth: DatabaseAuth = DatabaseAuth.PASSWORD
    hot_dsn: SecretStr | None = Field(default=None, description="libpq conninfo of the worker's login.")
    cache_dir: Path = Field(default_factory=lambda: Path(tempfile.gettempdir()) / "setpoint-worker")
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    metrics_host: str = "127.0.0.1"
    metrics_env: str = Field(
        default="",
        pattern=r"^([a-z][a-z0-9-]*)?$",
        description="The environment's name in CloudWatch; empty: nothing is published.",
    )
    grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 110
    protection_idle_seconds: Annotated[float, Field(ge=0, le=3600)] = 180
    log_level: Annotated[str, Field(pattern=r"^(debug|info|warning|error)$")] = "info"

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if (self.pool_token is None) == (self.pool_token_secret is None):
            raise ValueError(f"set either {PREFIX}POOL_TOKEN or {PREFIX}POOL_TOKEN_SECRET")
        return self


class HostSettings(Settings):
    """What a Lambda function that runs attempts must know: it is invoked, so it has no queue."""

    queue_url: Literal[""] = ""


_Kind = TypeVar("_Kind", bound=Settings)


def read() -> Settings:
    """Return a worker's settings in the environment; raise ValueError that names every wrong one."""
    return read_as(Settings)


def read_as(kind: type[_Kind]) -> _Kind:
    """Return the settings of a kind of process; raise ValueError as `read` does."""
    unknown = _unknown(os.environ, kind)
    if unknown:
        raise ValueError("; ".join(unknown))
    return kind()


def _unknown(names: Iterable[str], kind: type[Settings]) -> list[str]:
    known = [PREFIX + field.upper() for field in kind.model_fields]
    problems = []
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"a worker knows {', '.join(known)}"
            problems.append(f"{name}: unknown setting; {hint}")
    return problems
