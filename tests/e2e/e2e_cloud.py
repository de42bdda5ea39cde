"""An AWS on this machine that runs what is deployed to it: its tasks are processes, its database is a real Postgres."""

from __future__ import annotations

import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import boto3
import psycopg

from controller.local.postgres import Server, temporary_server
from controller.store.bootstrap import DATABASE, DISPATCHER, IAM_ROLE, MIGRATOR, WORKER
from tests.terraform.cloud import LocalCloud, Terraform
from tests.terraform.cloud.terraform import offline

if TYPE_CHECKING:
    from types import TracebackType

NAME = "setpoint-dev"
MASTER, PASSWORD = "master", "only-for-tests"
COMMAND = Path(sys.executable).with_name("setpoint")
REPOSITORIES = ("dispatcher", "worker-python")
"""What the pools of this project need."""
SECONDS = 600
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
# A person waits a minute until a dispatcher counts as ill; a test does not.
QUICK = {
    "start_seconds = 60": "start_seconds = 6",
    "interval    = 15": "interval    = 2",
    "retries     = 3": "retries     = 1",
}
POOLS = """\
kind: WorkerPool
metadata: {name: python}
spec: {runtime: python, slots: 2, minTasks: 0, maxTasks: 2}
---
kind: WorkerPool
metadata: {name: lambda}
spec: {runtime: lambda, slots: 1, maxTasks: 2}
"""
DAG = """\
kind: Dag
metadata: {name: hello}
spec:
  tasks: [{name: greet, runtime: python, with: {entrypoint: "hello:greet"}}]
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command came to."""

    status: int
    said: str


class Proxy(socketserver.ThreadingTCPServer):
    """The load balancer: connections go to a task of the dispatcher's service that runs."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, ecs: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.ecs = ecs

    def target(self) -> tuple[str, int] | None:
        """Return the address of a healthy task, by preference."""
        arns = self.ecs.list_tasks(cluster=NAME, serviceName="dispatcher")["taskArns"]
        tasks = self.ecs.describe_tasks(cluster=NAME, tasks=arns)["tasks"] if arns else []
        running = [task for task in tasks if task["lastStatus"] == "RUNNING"]
        running.sort(key=lambda task: task["healthStatus"] != "HEALTHY")
        interfaces = [task["containers"][0]["networkInterfaces"][0] for task in running]
        return (interfaces[0]["privateIpv4Address"], 8080) if interfaces else None


class _Forward(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        with suppress(OSError):
            target = self.server.target()
            if target is None:
                return
            with socket.create_connection(target, 10) as other:
                back = threading.Thread(target=_pump, args=(other, self.request), daemon=True)
                back.start()
                _pump(self.request, other)
                back.join(60)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Cloud:
    """Everything that `setpoint deploy` meets, and a project's folder to deploy from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self._stack = ExitStack()
        self._variables = folder / "variables.json"
        self.database: Server | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.database = stack.enter_context(temporary_server())
            _roles(self.database)
            self._variables.write_text("{}")
            options = (f"--environment={self._variables}", "--task-addresses", "--stop-grace=5")
            self.aws = stack.enter_context(
                LocalCloud.start(self.folder / "aws", ecs="ours", sqs="ours", ecs_options=options)
            )
            self.proxy = stack.enter_context(Proxy(self.client("ecs")))
            stack.callback(self.proxy.shutdown)
            threading.Thread(target=self.proxy.serve_forever, daemon=True).start()
            self.url = f"http://127.0.0.1:{self.proxy.server_address[1]}"
            self._lay_out()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def client(self, service: str) -> Any:
        """Return a boto3 client of this cloud."""
        environment = self.aws.environment
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=environment.get(f"AWS_ENDPOINT_URL_{service.upper()}", environment["AWS_ENDPOINT_URL"]),
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    def run(self, *words: str, **more: str) -> Done:
        """Run a command of `setpoint` in the project's folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_", "SETPOINT_"))}
        done = subprocess.run(
            [str(COMMAND), *words],
            cwd=self.project,
            env={**kept, **offline(), "TF_CLI_ARGS_apply": "-parallelism=30", **self.aws.environment, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout + done.stderr)

    def deploy(self, *words: str) -> Done:
        """Deploy the project, as far as images allow."""
        return self.run("deploy", "--env", "dev", "--yes", "--no-package", *self._images(), *words)

    def ask(self, *words: str) -> Done:
        """Run a command against the deployed dispatcher, with the token that the deployment left."""
        context = json.loads((self.project / ".setpoint" / "config.json").read_text())["contexts"]["dev"]
        # Only the address differs: names of AWS do not resolve here.
        return self.run(*words, SETPOINT_URL=self.url, SETPOINT_TOKEN=context["token"])

    def push(self) -> None:
        """Put an image of each kind into ECR; here it only has to be there, since tasks are processes."""
        ecr = self.client("ecr")
        layer = {"digest": f"sha256:{'0' * 64}", "mediaType": "x", "size": 1}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": layer, "layers": [layer]})
        for repository in REPOSITORIES:
            ecr.put_image(repositoryName=f"{NAME}/{repository}", imageManifest=manifest, imageTag="first")

    def service(self, name: str) -> dict[str, Any]:
        """Return an ECS service."""
        found: dict[str, Any] = self.client("ecs").describe_services(cluster=NAME, services=[name])["services"][0]
        return found

    def edit(self, path: str, before: str, after: str) -> None:
        """Change a file of the project."""
        file = self.project / path
        text = file.read_text()
        assert before in text, path
        file.write_text(text.replace(before, after))

    def log(self) -> str:
        """Return the last words of the tasks."""
        logs = sorted((self.folder / "aws" / "tasks").glob("*.log"), key=lambda path: path.stat().st_mtime)
        return "\n".join(f"== {path.name}\n{path.read_text()[-1_500:]}" for path in logs[-4:])

    def _images(self) -> list[str]:
        found = []
        ecr = self.client("ecr")
        for key in REPOSITORIES:
            with suppress(ecr.exceptions.RepositoryNotFoundException):
                name = f"{NAME}/{key}"
                repository = ecr.describe_repositories(repositoryNames=[name])["repositories"][0]
                for image in ecr.list_images(repositoryName=name)["imageIds"]:
                    found += ["--image", f"{key}={repository['repositoryUri']}@{image['imageDigest']}"]
        return found

    def _lay_out(self) -> None:
        """Copy Terraform and write small resources, as a person's project has them."""
        Terraform.copy(self.project, "environments/dev")
        shutil.rmtree(self.project / "dags")
        (self.project / "dags" / "hello").mkdir(parents=True)
        (self.project / "dags" / "pools.yaml").write_text(POOLS)
        (self.project / "dags" / "hello" / "dag.yaml").write_text(DAG)
        (self.project / "dags" / "hello" / "hello.py").write_text("def greet():\n    print('hello')\n")
        for before, after in QUICK.items():
            file = "workloads" if "start" in before else "tasks"
            self.edit(f"terraform/modules/ecs/{file}.tf", before, after)
        secret = json.dumps({"username": MASTER, "password": PASSWORD})
        arn = self.client("secretsmanager").create_secret(Name="rds!db-own", SecretString=secret)["ARN"]
        own = {"host": "127.0.0.1", "port": self._port, "resource_id": "db-OWN", "master_secret_arn": arn}
        own["cidr"] = "127.0.0.0/8"
        root = self.project / "terraform" / "environments" / "dev"
        (root / "terraform.tfvars.json").write_text(json.dumps({"database": own}))
        self._variables.write_text(json.dumps(self._seams()))

    def _seams(self) -> dict[str, dict[str, str]]:
        """Return what makes AWS's names reachable here; TLS ends at a load balancer and at RDS, which are played."""
        aws = self.aws.environment
        everywhere = {name: value for name, value in aws.items() if name.startswith("AWS_")}
        worker = {"SETPOINT_URL": self.url, "SETPOINT_HOT_DSN": self._dsn(WORKER)}
        return {
            "*": {**everywhere, "AWS_ALLOW_HTTP": "true"},
            f"{NAME}-migrate": {"SETPOINT_DSN": self._dsn(MIGRATOR)},
            # In the place of Application Auto Scaling.
            f"{NAME}-dispatcher": {"SETPOINT_DSN": self._dsn(DISPATCHER), "SETPOINT_SCALE_POOLS": "true"},
            f"{NAME}-python": worker,
        }

    @property
    def _port(self) -> int:
        assert self.database is not None
        return int(psycopg.conninfo.conninfo_to_dict(self.database.dsn())["port"] or 0)

    def _dsn(self, login: str) -> str:
        assert self.database is not None
        return self.database.dsn(login, DATABASE)


def _roles(server: Server) -> None:
    """Make RDS's roles: an administrator that is no superuser, and the members of rds_iam, whose tokens RDS checks."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {MASTER} LOGIN CREATEROLE CREATEDB PASSWORD '{PASSWORD}'")
        connection.execute(f"CREATE ROLE {IAM_ROLE}")
        rules = Path((connection.execute("SHOW hba_file").fetchone() or ("",))[0])
        rules.write_text(f"host all +{IAM_ROLE} 127.0.0.1/32 trust\n{rules.read_text()}")
        connection.execute("SELECT pg_reload_conf()")
