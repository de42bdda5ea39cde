"""A local ECS as a process, its client, and the words that its tests share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_SECONDS = 30.0
SLEEPER = ("sleep", "600")
T = TypeVar("T")


class EcsProcess:
    """The server process, held by a lifeline."""

    def __init__(self, folder: Path, *options: str, declared: dict[str, Any] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.logs = folder / "logs"
        services = folder / "services.json"
        services.write_text(json.dumps(declared or {}))
        read, self._lifeline = os.pipe()
        command = [sys.executable, "-m", "controller.local.ecs", "--port=0", f"--services={services}"]
        command += [f"--logs-dir={self.logs}", f"--lifeline={read}", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=(read,))
        os.close(read)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def client(self, service: str = "ecs", *, retries: int = 0) -> Any:
        client: Any = boto3.client
        return client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": retries + 1}),
        )

    def faults(self, **order: Any) -> None:
        body = json.dumps(order).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/_faults", body), timeout=10).close()

    def stop(self) -> int:
        self.process.terminate()
        status = self.process.wait(PATIENCE_SECONDS)
        self.close()
        return status

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass(slots=True)
class Cluster:
    """A cluster of one test on a server that tests share."""

    client: Any
    name: str
    server: EcsProcess

    def define(self, *command: str, family: str = "task", **container: Any) -> str:
        body = {"name": "main", "image": "none", "command": list(command), **container}
        response = self.client.register_task_definition(family=f"{self.name}-{family}", containerDefinitions=[body])
        return str(response["taskDefinition"]["taskDefinitionArn"])

    def run(self, *command: str, **container: Any) -> str:
        arn = self.define(*command, **container)
        tasks = self.client.run_task(cluster=self.name, taskDefinition=arn)["tasks"]
        return str(tasks[0]["taskArn"])

    def serve(self, count: int, *command: str, name: str = "web", **container: Any) -> str:
        arn = self.define(*(command or SLEEPER), **container)
        self.client.create_service(cluster=self.name, serviceName=name, taskDefinition=arn, desiredCount=count)
        return arn

    def update(self, name: str = "web", **changes: Any) -> None:
        self.client.update_service(cluster=self.name, service=name, **changes)

    def task(self, arn: str) -> dict[str, Any]:
        response = self.client.describe_tasks(cluster=self.name, tasks=[arn])
        found: dict[str, Any] = response["tasks"][0]
        return found

    def tasks(self, **filters: Any) -> list[str]:
        return list(self.client.list_tasks(cluster=self.name, **filters)["taskArns"])

    def service(self, name: str = "web") -> dict[str, Any]:
        found: dict[str, Any] = self.client.describe_services(cluster=self.name, services=[name])["services"][0]
        return found

    def stopped(self, arn: str) -> dict[str, Any]:
        return until(lambda: self.task(arn), lambda task: task["lastStatus"] == "STOPPED")

    def running(self, arn: str) -> dict[str, Any]:
        return until(lambda: self.task(arn), lambda task: task["lastStatus"] == "RUNNING")

    def stable(self, count: int, name: str = "web") -> list[str]:
        """Wait until the service runs so many tasks of one deployment; return their ARNs."""
        until(
            lambda: self.service(name),
            lambda service: (
                len(service["deployments"]) == 1 and service["runningCount"] == service["desiredCount"] == count
            ),
        )
        return self.tasks(serviceName=name)

    def log(self, arn: str) -> str:
        return next(self.server.logs.glob(f"*{arn.rsplit('/', 1)[1]}.log")).read_text()


def until(look: Callable[[], T], right: Callable[[T], bool]) -> T:
    """Look until what is seen is right."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not right(seen := look()):
        assert time.monotonic() < deadline, f"waited in vain, last seen: {seen}"
        time.sleep(0.02)
    return seen
