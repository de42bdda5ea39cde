"""The dispatcher: builds its parts, starts them, and stops them in order."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import signal
import sys
import threading
from time import perf_counter
from typing import TYPE_CHECKING

import structlog
from prometheus_client import REGISTRY
from psycopg_pool import ConnectionPool
from pydantic import ValidationError

from controller import check as checks
from controller.access import access_of, ensure_admin
from controller.api import app
from controller.api.addresses import networks
from controller.api.endpoint import ApiDeps
from controller.api.grants import Grants
from controller.api.protocol import WorkerProtocol
from controller.api.reporting import Reporting
from controller.api.resources import resource_routes
from controller.api.sources import EventSources
from controller.api.tokens import ClaimTokens, Secrets, SharedTokens
from controller.api.workers import WorkerApi
from controller.examinations import Examination
from controller.informers.cloudwatch import Publisher
from controller.informers.invocations import FailedInvocations
from controller.informers.notifications import Notifications
from controller.informers.notifier import Notifier
from controller.informers.sampler import Sampler
from controller.informers.timers import OpenKeeper, Timers
from controller.informers.tracing import Tracing
from controller.notify.channels import Channels, NotifierSecrets
from controller.reconcilers.dags import DagReconciler
from controller.reconcilers.datasets import DatasetReconciler
from controller.reconcilers.delivery import Delivery
from controller.reconcilers.invocations import Invocations
from controller.reconcilers.pools import PoolReconciler
from controller.reconcilers.queues import QueueReconciler
from controller.reconcilers.runs import RunReconciler
from controller.reconcilers.sender import Sender
from controller.runtime.holder import holder_name
from controller.runtime.keys import Kind
from controller.runtime.leader import Leader
from controller.runtime.logs import configure_logging
from controller.runtime.loop import Loop
from controller.runtime.metrics import BUILD, Process
from controller.runtime.traces import ENDINGS, context_of, no_context
from controller.runtime.wakes import Wakes
from controller.runtime.workqueue import Workqueue
from controller.settings import Settings, UnknownSetting, read
from controller.store.connect import connect, make_pool
from controller.store.revisions import Revisions
from controller.world import World, world
from crds.redaction import KNOWN
from crds.spans import open_export

if TYPE_CHECKING:
    import psycopg
    from starlette.routing import Route

    from controller.runtime.background import Background

log = structlog.get_logger()
STOP_WITHIN = 10.0
PEOPLE_CONNECTIONS = 8
STUCK_AFTER = 120.0
"""A loop that has not looked at its queue for this many seconds makes /healthz fail."""
RUN_BATCH, DAG_BATCH, POOL_BATCH, DATASET_BATCH = 200, 50, 1, 100
POOL_THREADS = 4
"""How many pools, and how many queues, are looked at side by side: a call to AWS that hangs holds up its own key alone."""


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
            Kind.DATASET: Workqueue("datasets"),
        }
        holder = settings.holder or holder_name(os.environ, os.getpid())
        self.leader = Leader(self._connect, holder, self._began, self._ceased)
        self._wakes = Wakes(self._queues, self.leader.leads, self._database)
        self._revisions = Revisions()
        delivery = Delivery(world.queues, world.functions, settings.name_prefix)
        self._export = open_export(os.environ, "setpoint-dispatcher")
        self._trace = context_of(self._export.sampled) if self._export else no_context
        self._sender = Sender(self._database, world.clock, delivery, self._trace)
        self._timers = Timers(self._database, world.clock, self._wakes.enqueue, self.leader.leads)
        self._loops = self._reconcilers()
        self._informers = self._background()
        self._worker_api, routes = self._serve()
        self._app = app.build(routes, self._healthy, self._ready, networks(settings.trusted_proxies))
        self.server = app.Server(self._app, settings.host, settings.port)

    def _reconcilers(self) -> list[Loop]:
        """Return a loop for each kind of key."""
        settings, world = self._settings, self._world
        leads, clock, wake, database = self.leader.leads, world.clock, self._wakes, self._database
        revisions, queues = self._revisions, self._queues
        run = RunReconciler(database, clock, revisions, self._sender, wake)
        dag = DagReconciler(database, clock, revisions, world.ids, wake)
        pool = PoolReconciler(database, clock, revisions, world.services, wake, scales=settings.scale_pools)
        queue = QueueReconciler(database, clock, revisions, world.queues, self._sender, wake, settings.name_prefix)
        dataset = DatasetReconciler(database, clock)
        return [
            Loop("runs", queues[Kind.RUN], run.reconcile, batch=RUN_BATCH, leads=leads),
            Loop("dags", queues[Kind.DAG], dag.reconcile, batch=DAG_BATCH, leads=leads),
            Loop("pools", queues[Kind.POOL], pool.reconcile, batch=POOL_BATCH, leads=leads, threads=POOL_THREADS),
            Loop("queues", queues[Kind.QUEUE], queue.reconcile, batch=POOL_BATCH, leads=leads, threads=POOL_THREADS),
            Loop("datasets", queues[Kind.DATASET], dataset.reconcile, batch=DATASET_BATCH, leads=leads),
        ]

    def _background(self) -> list[Background]:
        """Return the threads that bring keys, and those that tell of what is."""
        settings, world = self._settings, self._world
        leads, clock, wake, database = self.leader.leads, world.clock, self._wakes, self._database
        found: list[Background] = [
            Notifications(self._connect, wake.enqueue, leads),
            self._timers,
            OpenKeeper(database, clock),
            Sampler(database, clock, leads),
            Notifier(database, clock, self._channels(), leads),
        ]
        if self._export:
            found.append(Tracing(database, ENDINGS, self._export))
        if settings.metrics_env:
            found.append(Publisher(settings.metrics_env, _say))
        if settings.lambda_failures_queue:
            invocations = Invocations(database, clock, self._revisions, world.functions, self._sender, wake)
            found.append(FailedInvocations(invocations.look, leads))
        return found

    def _channels(self) -> Channels:
        """Return what tells people."""
        prefix = f"{self._settings.name_prefix}/notifiers/"
        secrets = NotifierSecrets(self._world.secrets, prefix, self._world.clock.monotonic)
        return Channels(secrets, self._world.topics, self._settings.public_url)

    def _serve(self) -> tuple[WorkerApi, list[Route]]:
        """Return the workers' side of the API, which answers in threads of its own, and all routes."""
        settings, world = self._settings, self._world
        database, clock, wake, revisions = self._database, world.clock, self._wakes, self._revisions
        signing_key = _required(world.secrets, settings.signing_key_secret)
        grants = Grants(revisions, ClaimTokens(signing_key.encode()), self._trace)
        protocol = WorkerProtocol(database, clock, grants, wake)
        reporting = Reporting(database, clock, revisions, grants, wake, self._sender.send)
        shared = SharedTokens(world.secrets, lambda pool: settings.pool_token_prefix + pool, clock.monotonic)
        sources = SharedTokens(world.secrets, lambda _: settings.events_token_secret, clock.monotonic)
        workers = WorkerApi(protocol, reporting, shared)
        access = access_of(settings)
        deps = ApiDeps(self._people, clock, world.ids, wake, world.objects, access)
        looks = Examination(settings, world, self._connect).checks()
        return workers, [*workers.routes(), *EventSources(deps, sources).routes(), *resource_routes(deps, looks)]

    def start(self) -> None:
        """Begin to reconcile and to serve."""
        self._database.open(wait=True, timeout=30)
        self._people.open()
        _required(self._world.secrets, self._settings.admin_token_secret)
        with self._database.connection() as connection:
            admins = self._world.secrets.values(self._settings.admin_token_secret)
            ensure_admin(connection, admins, self._world.clock.now(connection))
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
    def connections(self) -> dict[str, ConnectionPool]:
        """Return the pools of connections by name, for the metrics."""
        return {"loop": self._database, "people": self._people}

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


def main(*, check: bool = False) -> int:
    """Run the dispatcher until SIGTERM or SIGINT; or check what it needs, and return 1 if something is missing."""
    try:
        settings = read()
    except (UnknownSetting, ValidationError) as error:
        sys.exit(f"dispatcher: {error}")
    configure_logging(settings.log_level)
    KNOWN.add_dsn(settings.dsn)
    if check:
        return checks.run(settings, world(settings))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    dispatcher = Dispatcher(settings, world(settings))
    BUILD.labels(importlib.metadata.version("setpoint")).set(1)
    REGISTRY.register(Process(lambda: dispatcher.workqueues, lambda: dispatcher.connections))
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
