"""The dispatcher: builds its parts, starts them, and stops them in order."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import boto3
import obstore.store
import structlog
from botocore.config import Config
from prometheus_client import REGISTRY
from psycopg_pool import ConnectionPool
from pydantic import ValidationError

from controller import check as checks
from controller.api import app
from controller.api.endpoint import ApiDeps
from controller.api.grants import Grants
from controller.api.protocol import WorkerProtocol
from controller.api.reporting import Reporting
from controller.api.resources import resource_routes
from controller.api.sources import EventSources
from controller.api.tokens import ClaimTokens, Secrets, SharedTokens
from controller.api.workers import WorkerApi
from controller.aws.ecs import EcsServices, Services
from controller.aws.functions import Functions, LambdaFunctions
from controller.aws.secrets import SecretsManager
from controller.aws.sqs import Queues, SqsQueues
from controller.informers.cloudwatch import Publisher
from controller.informers.invocations import FailedInvocations
from controller.informers.notifications import Notifications
from controller.informers.timers import OpenKeeper, Timers
from controller.reconcilers.dags import DagReconciler
from controller.reconcilers.delivery import Delivery
from controller.reconcilers.invocations import Invocations
from controller.reconcilers.pools import PoolReconciler
from controller.reconcilers.queues import QueueReconciler
from controller.reconcilers.runs import RunReconciler
from controller.reconcilers.sender import Sender
from controller.runtime.clock import Clock, DatabaseClock
from controller.runtime.ids import DrawnIds, Ids
from controller.runtime.keys import Kind
from controller.runtime.leader import Leader
from controller.runtime.loop import Loop
from controller.runtime.metrics import Workqueues
from controller.runtime.wakes import Wakes
from controller.runtime.workqueue import Workqueue
from controller.settings import Settings, UnknownSetting, read
from controller.store import tokens
from controller.store.connect import connect, make_pool
from controller.store.revisions import Revisions

if TYPE_CHECKING:
    import psycopg
    from starlette.routing import Route

    from controller.runtime.background import Background

log = structlog.get_logger()
STOP_WITHIN = 10.0
PEOPLE_CONNECTIONS = 8
_ADAPTIVE = Config(retries={"mode": "adaptive", "max_attempts": 3})
STUCK_AFTER = 120.0
"""A loop that has not looked at its queue for this many seconds makes /healthz fail."""
RUN_BATCH, DAG_BATCH, POOL_BATCH = 200, 50, 1
POOL_THREADS = 4
"""How many pools, and how many queues, are looked at side by side: a call to AWS that hangs holds up its own key alone."""


@dataclass(frozen=True, slots=True)
class World:
    """What the dispatcher reaches beyond Postgres."""

    queues: Queues
    functions: Functions
    services: Services
    secrets: Secrets
    objects: Any
    clock: Clock
    ids: Ids


class Dispatcher:
    """All parts of one dispatcher process."""

    def __init__(self, settings: Settings, world: World) -> None:
        self._settings = settings
        self._world = world
        # What the loop does is done again after a broken connection; what people ask for is not, so theirs are checked first.
        self._database = make_pool(settings.dsn, settings.connections, settings.database_auth)
        self._people = make_pool(
            settings.dsn, PEOPLE_CONNECTIONS, settings.database_auth, check=ConnectionPool.check_connection
        )
        runs, dags = Workqueue("runs"), Workqueue("dags")
        pools, queues = Workqueue("pools"), Workqueue("queues")
        self._queues = {
            Kind.RUN: runs,
            Kind.SLOTS: runs,
            Kind.DAG: dags,
            Kind.POOL: pools,
            Kind.QUEUE: queues,
        }
        holder = settings.holder or f"{socket.gethostname()}/{os.getpid()}"
        self.leader = Leader(self._connect, holder, self._began, self._ceased)
        self._wakes = Wakes(self._queues, self.leader.leads, self._database)
        revisions = Revisions()
        delivery = Delivery(world.queues, world.functions, settings.name_prefix)
        self._sender = Sender(self._database, world.clock, delivery)
        leads, clock, wake, database = self.leader.leads, world.clock, self._wakes, self._database
        run = RunReconciler(database, clock, revisions, self._sender, wake)
        dag = DagReconciler(database, clock, revisions, world.ids, wake)
        pool = PoolReconciler(database, clock, revisions, world.services, wake, scales=settings.scale_pools)
        queue = QueueReconciler(database, clock, revisions, world.queues, self._sender, wake, settings.name_prefix)
        invocations = Invocations(database, clock, revisions, world.functions, self._sender, wake)
        self._loops = [
            Loop("runs", runs, run.reconcile, batch=RUN_BATCH, leads=leads),
            Loop("dags", dags, dag.reconcile, batch=DAG_BATCH, leads=leads),
            Loop("pools", pools, pool.reconcile, batch=POOL_BATCH, leads=leads, threads=POOL_THREADS),
            Loop("queues", queues, queue.reconcile, batch=POOL_BATCH, leads=leads, threads=POOL_THREADS),
        ]
        self._timers = Timers(database, clock, self._wakes.enqueue, leads)
        self._informers: list[Background] = [
            Notifications(self._connect, self._wakes.enqueue, leads),
            self._timers,
            OpenKeeper(database, clock),
        ]
        if settings.metrics_env:
            self._informers.append(Publisher(database, clock, settings.metrics_env, leads, _say))
        if settings.lambda_failures_queue:
            self._informers.append(FailedInvocations(invocations.look, leads))
        self._worker_api, routes = self._serve(revisions)
        self._app = app.build(routes, self._healthy, self._ready)
        self.server = app.Server(self._app, settings.host, settings.port)

    def _serve(self, revisions: Revisions) -> tuple[WorkerApi, list[Route]]:
        """Return the workers' side of the API, which answers in threads of its own, and all routes."""
        settings, world = self._settings, self._world
        database, clock, wake = self._database, world.clock, self._wakes
        signing_key = _required(world.secrets, settings.signing_key_secret)
        grants = Grants(revisions, ClaimTokens(signing_key.encode()))
        protocol = WorkerProtocol(database, clock, grants, wake)
        reporting = Reporting(database, clock, revisions, grants, wake, self._sender.send)
        shared = SharedTokens(world.secrets, lambda pool: settings.pool_token_prefix + pool, clock.monotonic)
        sources = SharedTokens(world.secrets, lambda _: settings.events_token_secret, clock.monotonic)
        workers = WorkerApi(protocol, reporting, shared)
        deps = ApiDeps(pool=self._people, clock=clock, ids=world.ids, wake=wake, objects=world.objects)
        return workers, [*workers.routes(), *EventSources(deps, sources).routes(), *resource_routes(deps)]

    def start(self) -> None:
        """Begin to reconcile and to serve."""
        self._database.open(wait=True, timeout=30)
        self._people.open()
        admin = _required(self._world.secrets, self._settings.admin_token_secret)
        with self._database.connection() as connection:
            tokens.ensure_token(connection, admin, "admin", "admin", self._world.clock.now(connection))
        self._sender.start()
        for loop in self._loops:
            loop.start()
        for informer in self._informers:
            informer.start()
        self._worker_api.start()
        self.leader.start()
        self.server.start()
        log.info("dispatcher serves", host=self._settings.host, port=self.server.port)

    def stop(self) -> None:
        """Finish what is under way, let the lease go, and end."""
        self.server.stop(STOP_WITHIN)
        self._worker_api.stop(STOP_WITHIN)
        for loop in self._loops:
            loop.stop()
        for loop in self._loops:
            loop.join(STOP_WITHIN)
        self._sender.stop(STOP_WITHIN)
        for informer in self._informers:
            informer.stop(STOP_WITHIN)
        self.leader.stop(STOP_WITHIN)
        self._people.close(STOP_WITHIN)
        self._database.close(STOP_WITHIN)
        log.info("dispatcher stopped")

    def _connect(self) -> psycopg.Connection:
        return connect(self._settings.dsn, self._settings.database_auth)

    def _began(self) -> None:
        for queue in set(self._queues.values()):
            queue.clear()

    def _ceased(self) -> None:
        for queue in set(self._queues.values()):
            queue.clear()

    def _healthy(self) -> str | None:
        now = perf_counter()
        stuck = [loop.name for loop in self._loops if loop.last_progress and now - loop.last_progress > STUCK_AFTER]
        return f"stuck: {', '.join(stuck)}" if stuck else None

    def _ready(self) -> str | None:
        try:
            with self._database.connection(timeout=2) as connection:
                connection.execute("SELECT 1")
        except Exception as error:  # noqa: BLE001 - whatever it is, this process is not ready
            return f"no database: {type(error).__name__}"
        return None

    @property
    def workqueues(self) -> dict[str, Workqueue]:
        """Return the queues by name, for the metrics."""
        return {queue.name: queue for queue in set(self._queues.values())}


def _say(line: bytes) -> None:
    """Write a line that stands beside those of the log."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.flush()


def _required(secrets: Secrets, name: str) -> str:
    values = secrets.values(name)
    if not values:
        raise RuntimeError(f"the secret {name} does not exist or is empty; create it in Secrets Manager")
    return values[0]


def world(settings: Settings) -> World:
    """Return the real world: AWS by boto3, objects by obstore, Postgres's clock."""
    # One pool of connections a client, so that sending threads do not wait for each other.
    config = Config(
        max_pool_connections=16,
        retries={"mode": "standard", "max_attempts": 3},
        connect_timeout=3,
        # Whoever asked comes again by itself; a call that hangs must not hold up the look at a lease.
        read_timeout=5,
    )
    sqs = boto3.client("sqs", config=config)
    objects = obstore.store.from_url(settings.object_store, **_mkdir(settings.object_store))
    return World(
        SqsQueues(sqs),
        LambdaFunctions(boto3.client("lambda", config=config), sqs, settings.lambda_failures_queue),
        # ECS allows few calls a second to all who use the account, so this client slows down by itself when it is throttled.
        EcsServices(boto3.client("ecs", config=config.merge(_ADAPTIVE)), settings.cluster),
        SecretsManager(boto3.client("secretsmanager", config=config)),
        objects,
        DatabaseClock(),
        DrawnIds(),
    )


def _mkdir(url: str) -> dict[str, Any]:
    return {"mkdir": True} if url.startswith("file://") else {}


def configure_logging(level: str) -> None:
    """Log JSON lines to standard output."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )


def main(*, check: bool = False) -> int:
    """Run the dispatcher until SIGTERM or SIGINT; or check what it needs, and return 1 if something is missing."""
    try:
        settings = read()
    except (UnknownSetting, ValidationError) as error:
        sys.exit(f"dispatcher: {error}")
    configure_logging(settings.log_level)
    if check:
        return checks.run(settings, world(settings))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    dispatcher = Dispatcher(settings, world(settings))
    REGISTRY.register(Workqueues(lambda: dispatcher.workqueues))
    dispatcher.start()
    stopping.wait()
    dispatcher.stop()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m controller.main", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="only check what a dispatcher needs; exit 1 if it is missing"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(check=_arguments().check))
