"""The whole system on one machine: Postgres, SQS, ECS, Secrets Manager, the dispatcher, the pools' workers."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Self

import boto3
import msgspec
import psycopg
from botocore.config import Config

from controller.cli import contexts
from controller.local import functions
from controller.local.layout import (
    ADMIN_TOKEN,
    EVENTS_TOKEN,
    POOL_TOKENS,
    SIGNING_KEY,
    WEBHOOK_SECRETS,
    Layout,
    LocalSecrets,
)
from controller.local.postgres import find_binaries
from controller.local.postgres.cluster import HOST
from controller.local.postgres.server import Server
from controller.local.provisioner import ACCOUNT, LAMBDA_FAILURES, REGION, STOP_TIMEOUT, Provisioner
from controller.local.supervisor import Program, Supervisor, until
from controller.local.ticker import Ticker
from controller.store import attempts
from controller.store.bootstrap import DATABASE, DISPATCHER, MIGRATOR, WORKER, create_database, ensure_logins
from controller.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLUSTER = "setpoint"
OPERATOR_POOL = "lambda"
"""The pool that the operator host claims for."""
START_WITHIN = 60.0
STOP_ORDER = (("apply",), ("ecs", "lambda"), ("dispatcher",), ("sqs", "examples"), ("postgres",))
"""Workers (with ECS) first, so that they can still report; what they wait for last."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `up` and `demo` let people choose. A port of 0 takes a free one."""

    data_dir: Path
    dags: Path | None
    port: int = 8080
    examples_port: int = 8089
    watch: bool = True


class PortTakenError(RuntimeError):
    """A port that was asked for is not free."""


class System:
    """Starts everything, keeps it running, stops it."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self.layout = Layout(options.data_dir.resolve())
        self._lock: IO[str] | None = None
        self._supervisor: Supervisor | None = None
        self._provisioner: Provisioner | None = None
        self._ticker: Ticker | None = None
        self.url = ""
        self.token = ""
        self.examples_url = ""
        self.hooks_url = ""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; return when the API answers."""
        self._lock = self.layout.lock()
        find_binaries()
        ports = [_port(self._options.port, "--port"), _port(self._options.examples_port, "--examples-port")]
        api, examples, postgres, sqs, ecs, lambda_ = *ports, *(_port(0, "") for _ in range(4))
        secrets = LocalSecrets(self.layout)
        supervisor = self._supervisor = Supervisor(self.layout.logs)
        self.url, self.examples_url = f"http://{HOST}:{api}", f"http://{HOST}:{examples}/nycflights13"

        self._say("Postgres …")
        dsn, worker_dsn = self._start_postgres(supervisor, secrets, postgres)
        self._say("SQS, ECS, Secrets Manager …")
        aws = _aws_environment(sqs, ecs, lambda_)
        secrets.get(SIGNING_KEY)
        self.token = secrets.get(ADMIN_TOKEN)
        secrets.write_context(self.url, _aws_of_context(aws))
        self._start_aws(supervisor, sqs, ecs)
        self._start_lambda(supervisor, lambda_, aws, secrets)
        objects = self.layout.objects.as_uri()
        self._start_dispatcher(supervisor, aws, dsn, api)
        worker = {
            **aws,
            "SETPOINT_URL": self.url,
            "SETPOINT_OBJECT_STORE": objects,
            "SETPOINT_HOT_DSN": worker_dsn,
            "SETPOINT_CACHE_DIR": str(self.layout.cache),
        }
        self._provisioner = _provisioner(
            dsn, self.layout, secrets, aws, worker, lambda: (supervisor.pid("sqs"), supervisor.pid("ecs"))
        )
        self._provisioner.start()
        self._ticker = Ticker(self.url, self.layout.events_token)
        self._ticker.start()
        self._start_examples_and_watch(supervisor, examples)

    def stop(self) -> None:
        """Stop everything in order; harmless when nothing runs."""
        for part in (self._ticker, self._provisioner):
            if part is not None:
                part.stop()
        if self._supervisor is not None:
            self._supervisor.stop(STOP_ORDER)
        if self._lock is not None:
            contexts.remove(self.layout.config, contexts.LOCAL)
            self._lock.close()
        self._ticker = self._provisioner = self._supervisor = self._lock = None

    def _start_postgres(self, supervisor: Supervisor, secrets: LocalSecrets, port: int) -> tuple[str, str]:
        """Start Postgres, create logins and database, migrate; return the conninfos of dispatcher and workers."""
        arguments = ("run", f"--data-dir={self.layout.postgres}", f"--port={port}")
        supervisor.keep(Program("postgres", "controller.local.postgres", arguments))
        server = Server(self.layout.postgres, port)
        until("Postgres takes connections", lambda: _connects(server), START_WITHIN, self._log("postgres"))
        password = secrets.login(MIGRATOR)
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            create_database(connection, password)
        migrator = server.dsn(MIGRATOR, DATABASE, password)
        migrate(migrator)
        with psycopg.connect(migrator) as connection:
            ensure_logins(connection, secrets.login(DISPATCHER), secrets.login(WORKER))
        dispatcher = server.dsn(DISPATCHER, DATABASE, secrets.login(DISPATCHER))
        with psycopg.connect(dispatcher, options="-c search_path=setpoint") as connection:
            # The local SQS keeps nothing: what an earlier life had queued is gone, and nobody need wait to find out.
            attempts.forget_sent(connection)
        return dispatcher, server.dsn(WORKER, DATABASE, secrets.login(WORKER))

    def _start_aws(self, supervisor: Supervisor, sqs: int, ecs: int) -> None:
        if not self.layout.queues.exists():
            self.layout.queues.write_bytes(b"[]")
        # The services of an earlier life name its ports; their workers would reach nobody.
        self.layout.services.write_bytes(msgspec.json.encode({"cluster": CLUSTER}))
        supervisor.keep(Program("sqs", "controller.local.sqs", (f"--port={sqs}", f"--queues={self.layout.queues}")))
        arguments = (
            f"--port={ecs}",
            f"--services={self.layout.services}",
            f"--logs-dir={self.layout.logs}",
            f"--events-url={self.url}/v1/events",
            f"--events-token-file={self.layout.events_token}",
            f"--secrets={self.layout.secrets}",
            f"--stop-grace={STOP_TIMEOUT}",
        )
        supervisor.keep(Program("ecs", "controller.local.ecs", arguments))
        for name, port in (("sqs", sqs), ("ecs", ecs)):
            until(f"{name} listens", partial(_listens, port), START_WITHIN, self._log(name))

    def _start_dispatcher(self, supervisor: Supervisor, aws: dict[str, str], dsn: str, port: int) -> None:
        """Start the dispatcher; return when its API answers."""
        self._say("dispatcher …")
        environment = {
            **aws,
            "SETPOINT_DSN": dsn,
            "SETPOINT_OBJECT_STORE": self.layout.objects.as_uri(),
            "SETPOINT_CLUSTER": CLUSTER,
            "SETPOINT_PORT": str(port),
            "SETPOINT_SCALE_POOLS": "true",
            "SETPOINT_LAMBDA_FAILURES_QUEUE": LAMBDA_FAILURES,
        }
        supervisor.keep(Program("dispatcher", "controller.main", environment=environment))
        until(
            "the dispatcher answers",
            lambda: _answers(f"{self.url}/readyz"),
            START_WITHIN,
            self._log("dispatcher"),
        )

    def _start_lambda(self, supervisor: Supervisor, port: int, aws: dict[str, str], secrets: LocalSecrets) -> None:
        """Start the local Lambda, if its runtime is installed; without it, lambda tasks wait."""
        if find_spec("awslambdaric") is None:
            self._say("no Lambda: install setpoint[local] to run tasks of runtime lambda")
            return
        token = f"{POOL_TOKENS}{OPERATOR_POOL}"
        secrets.get(token)
        operator = {
            **aws,
            "SETPOINT_URL": self.url,
            "SETPOINT_OBJECT_STORE": self.layout.objects.as_uri(),
            "SETPOINT_POOL": OPERATOR_POOL,
            "SETPOINT_POOL_TOKEN_SECRET": token,
        }
        webhook = {
            **aws,
            "SETPOINT_URL": self.url,
            "SETPOINT_EVENTS_TOKEN_SECRET": EVENTS_TOKEN,
            "SETPOINT_WEBHOOK_SECRET_PREFIX": WEBHOOK_SECRETS,
        }
        failures = f"{aws['AWS_ENDPOINT_URL_SQS']}/{ACCOUNT}/{LAMBDA_FAILURES}"
        functions.declare(self.layout.functions, operator, webhook, failures)
        arguments = (f"--port={port}", f"--functions={self.layout.functions}", f"--logs-dir={self.layout.logs}")
        supervisor.keep(Program("lambda", "controller.local.lambda_", arguments))
        self.hooks_url = f"http://{HOST}:{port}/hooks"

    def _start_examples_and_watch(self, supervisor: Supervisor, examples: int) -> None:
        supervisor.keep(Program("examples", "controller.local.examples", (f"--port={examples}",)))
        if self._options.dags is not None and self._options.watch:
            arguments = ("apply", "-f", str(self._options.dags), "--watch")
            environment = {"SETPOINT_URL": self.url, "SETPOINT_TOKEN": self.token}
            supervisor.keep(Program("apply", "controller.cli.main", arguments, environment, shown=True))

    def _log(self, name: str) -> Path:
        return self.layout.logs / f"{name}.log"


def _aws_environment(sqs: int, ecs: int, lambda_: int) -> dict[str, str]:
    """Return what makes boto3 talk to the local servers; nothing else differs from AWS."""
    return {
        "AWS_ENDPOINT_URL_SQS": f"http://{HOST}:{sqs}",
        "AWS_ENDPOINT_URL_ECS": f"http://{HOST}:{ecs}",
        "AWS_ENDPOINT_URL_LAMBDA": f"http://{HOST}:{lambda_}",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://{HOST}:{ecs}",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _aws_of_context(aws: dict[str, str]) -> dict[str, object]:
    """Return what a context says of its AWS."""
    endpoints = {name: aws[f"AWS_ENDPOINT_URL_{name.upper()}"] for name in ("ecs", "sqs")}
    return {"region": REGION, "cluster": CLUSTER, "endpoints": endpoints}


def _provisioner(
    dsn: str,
    layout: Layout,
    secrets: LocalSecrets,
    aws: dict[str, str],
    worker: dict[str, str],
    servers: Callable[[], object],
) -> Provisioner:
    session = boto3.Session("local", "local", region_name=REGION)
    config = Config(retries={"mode": "standard", "max_attempts": 2}, connect_timeout=2, read_timeout=10)
    sqs = session.client("sqs", endpoint_url=aws["AWS_ENDPOINT_URL_SQS"], config=config)
    ecs = session.client("ecs", endpoint_url=aws["AWS_ENDPOINT_URL_ECS"], config=config)
    return Provisioner(dsn, layout, secrets, sqs, ecs, CLUSTER, worker, servers)


def _port(wanted: int, option: str) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError:
            raise PortTakenError(f"port {wanted} is taken; choose another by {option}") from None
        port: int = probe.getsockname()[1]
        return port


def _connects(server: Server) -> bool:
    with suppress(psycopg.Error, FileNotFoundError):
        psycopg.connect(server.dsn(), connect_timeout=2).close()
        return True
    return False


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


def _answers(url: str) -> bool:
    with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own URL
        return bool(answer.status == 200)
    return False
