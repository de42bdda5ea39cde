"""An AWS on this machine: moto with its gaps filled, and our own ECS and SQS where tasks and messages must be real."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

from controller.local import lifeline
from tests.terraform.cloud.account import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

ROOT = Path(__file__).parents[3]
STOP_WITHIN_SECONDS = 20
LAST_WORDS = 2000
# The managed policies are those that roles attach.
MOTO = {"MOTO_ACCOUNT_ID": ACCOUNT, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}


class Backend(StrEnum):
    """Who answers the calls of a service."""

    MOTO = "moto"
    OURS = "ours"


@dataclass(slots=True)
class LocalCloud:
    """Servers on 127.0.0.1 that end with `stop`, and with this process."""

    folder: Path
    url: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    _servers: list[_Server] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        ecs: Backend | str = Backend.MOTO,
        sqs: Backend | str = Backend.MOTO,
        ecs_options: Sequence[str] = (),
        sqs_options: Sequence[str] = (),
    ) -> Self:
        """Start the cloud; `folder` takes the servers' output, the options go to our own servers."""
        folder.mkdir(parents=True, exist_ok=True)
        cloud = cls(folder)
        try:
            cloud.url = cloud._serve("tests.terraform.cloud.server", environment=MOTO)
            cloud.environment = environment_of(cloud.url)
            if Backend(ecs) is Backend.OURS:
                logs = f"--logs-dir={folder / 'tasks'}"
                cloud.environment["AWS_ENDPOINT_URL_ECS"] = cloud._serve(
                    "controller.local.ecs", "--port=0", logs, *ecs_options, environment=cloud.environment
                )
            if Backend(sqs) is Backend.OURS:
                cloud.environment["AWS_ENDPOINT_URL_SQS"] = cloud._serve(
                    "controller.local.sqs", "--port=0", f"--region={REGION}", *sqs_options
                )
        except BaseException:
            cloud.stop()
            raise
        return cloud

    def stop(self) -> None:
        """End the servers, the last one first."""
        while self._servers:
            self._servers.pop().stop()

    def pids(self) -> list[int]:
        """Return the servers' process ids."""
        return [server.pid for server in self._servers]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        server = _Server(self.folder, module, arguments, {**os.environ, **(environment or {})})
        self._servers.append(server)
        return server.url()


def environment_of(url: str) -> dict[str, str]:
    """Return the variables by which Terraform and boto3 take the server at `url` for AWS, and find no other."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "AKIALOCALLOCALLOCAL",
        "AWS_SECRET_ACCESS_KEY": "only-for-tests",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCOUNT_ID": ACCOUNT,
        "AWS_EC2_METADATA_DISABLED": "true",
        # A person's own profiles and endpoints must not leak in.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


class _Server:
    """A server process that says where it listens on its first line, bound to our life by a pipe."""

    def __init__(self, folder: Path, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._log = folder / f"{module.rpartition('.')[2]}.log"
        self._module = module
        read, self._lifeline = lifeline.pipe()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "controller.local.child", str(read), module, *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=dict(environment),
                pass_fds=(read,),
                text=True,
            )
        os.close(read)
        self.pid = self._process.pid

    def url(self) -> str:
        """Return the URL once the server listens; raise RuntimeError with its last words if it ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended at its start: {self._log.read_text()[-LAST_WORDS:]}")
        return line.split()[-1]

    def stop(self) -> None:
        """Ask the server to end, then kill it."""
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._lifeline)
        if self._process.stdout is not None:
            self._process.stdout.close()
