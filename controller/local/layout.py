"""Where local mode keeps things: one data folder, with its generated secrets."""

from __future__ import annotations

import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import yaml

from controller.cli import contexts
from controller.cli.target import CONFIG_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_DATA_DIR = Path(".setpoint")
ADMIN_TOKEN = "setpoint/admin-token"  # noqa: S105 - the name of a secret
SIGNING_KEY = "setpoint/signing-key"
POOL_TOKENS = "setpoint/pools/"
EVENTS_TOKEN = "setpoint/events-token"  # noqa: S105 - the name of a secret
WEBHOOK_SECRETS = "setpoint/webhooks/"
_LOGINS = "setpoint/logins/"


class DataDirInUseError(RuntimeError):
    """Another system runs over the same data folder."""


class DataDirUnusableError(RuntimeError):
    """The data folder cannot be created or written."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below a data folder."""

    root: Path

    @property
    def postgres(self) -> Path:
        """Return Postgres's folder."""
        return self.root / "postgres"

    @property
    def objects(self) -> Path:
        """Return the object store: bundles, logs, artifacts, cold data."""
        return self.root / "objects"

    @property
    def secrets(self) -> Path:
        """Return the file that the local Secrets Manager serves; people add their own secrets to it."""
        return self.root / "secrets.yaml"

    @property
    def logs(self) -> Path:
        """Return the folder of the processes' own logs."""
        return self.root / "logs"

    @property
    def cache(self) -> Path:
        """Return the workers' cache of bundles."""
        return self.root / "cache"

    @property
    def queues(self) -> Path:
        """Return the file that declares the queues to the local SQS."""
        return self.root / "queues.json"

    @property
    def services(self) -> Path:
        """Return the file that declares the services to the local ECS."""
        return self.root / "services.json"

    @property
    def functions(self) -> Path:
        """Return the file that declares the functions to the local Lambda."""
        return self.root / "functions.json"

    @property
    def events_token(self) -> Path:
        """Return the file with the token for ECS events."""
        return self.root / "events-token"

    @property
    def config(self) -> Path:
        """Return the file of contexts by which the CLI finds this system."""
        return self.root / CONFIG_FILE.name

    def lock(self) -> IO[str]:
        """Create the folders and take the data folder for this process; raise DataDirInUseError, DataDirUnusableError."""
        try:
            for folder in (self.root, self.objects, self.logs, self.cache):
                folder.mkdir(parents=True, exist_ok=True)
            handle = (self.root / "lock").open("a+")
        except OSError as error:
            raise DataDirUnusableError(
                f"{self.root} cannot be the data folder ({error.strerror}); name another by --data-dir"
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            raise DataDirInUseError(
                f"a system already runs over {self.root}; use it, stop it, or name another folder by --data-dir"
            ) from None
        return handle


class LocalSecrets:
    """The secrets that local mode draws once and keeps in the data folder."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._values: dict[str, object] = {}

    def get(self, name: str) -> str:
        """Return a secret, drawing it at the first time."""
        if name not in self._values:
            # People write their own secrets to the same file meanwhile.
            if self._layout.secrets.exists():
                self._values = yaml.safe_load(self._layout.secrets.read_text(encoding="utf-8")) or {}
            if name not in self._values:
                self._values[name] = secrets.token_urlsafe(24)
                write_private(self._layout.secrets, yaml.safe_dump(self._values).encode())
        return str(self._values[name])

    def login(self, name: str) -> str:
        """Return the password of a database login."""
        return self.get(_LOGINS + name)

    def write_context(self, url: str, aws: Mapping[str, object]) -> None:
        """Let the CLI find this system, and its AWS, from the folder above the data folder."""
        context = {"url": url, "token": self.get(ADMIN_TOKEN), "environment": contexts.LOCAL, "aws": aws}
        contexts.put(self._layout.config, contexts.LOCAL, context, choose=True)
        write_private(self._layout.events_token, self.get(EVENTS_TOKEN).encode())


def write_private(path: Path, data: bytes) -> None:
    """Replace a file as a whole, readable for its owner alone."""
    temporary = path.with_name(f"{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
    temporary.replace(path)
