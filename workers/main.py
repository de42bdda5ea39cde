"""One worker process, from its settings to its last report."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from crds import loglines
from crds.names import service_name
from crds.redaction import KNOWN
from crds.spans import open_export
from workers import settings as settings_module
from workers.bundles import Bundles
from workers.children import Children
from workers.claims import Claimer
from workers.client import Dispatcher
from workers.clock import Clock, Draw
from workers.cloudwatch import CloudWatch
from workers.consumer import Consumer
from workers.heartbeat import Heartbeat
from workers.held import Registry
from workers.identity import identify
from workers.logs import ChunkShipper
from workers.metrics import Metrics
from workers.objects import open_store
from workers.pooltoken import FixedToken, SecretToken
from workers.protection import Protection
from workers.queue import Queue
from workers.reporter import Reporter
from workers.runner import Runner
from workers.scratch import Scratch
from workers.slots import Slots
from workers.traces import OFF, Traces
from workers.wake import Wake
from workers.worker import Worker
from workers.workspace import Workspace

if TYPE_CHECKING:
    from workers.identity import Identity
    from workers.pooltoken import TokenSource
    from workers.settings import Settings

EXIT_SETTINGS = 2
# A heartbeat may wait for the token, so Secrets Manager has less time than the lease.
_SECRETS = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})


def main() -> int:
    """Run a worker until it is stopped or has drained; return its exit code."""
    try:
        settings = settings_module.read()
    except ValueError as error:
        sys.stderr.write(f"the worker's settings are wrong: {error}\n")
        return EXIT_SETTINGS
    identity = identify(settings.pool, settings.namespace, Draw())
    configure_logging(settings, worker=identity.worker, pool=identity.pool)
    traces = Traces(open_export(os.environ, "setpoint-worker"), Clock())
    metrics = Metrics()
    worker = build(settings, identity, traces, metrics)
    cloudwatch = CloudWatch(metrics.instruments, settings.metrics_env, service_name(settings.pool, settings.namespace))
    cloudwatch.start()
    # A handler may run anywhere in this thread, so it takes no lock: it writes one byte.
    stop = Wake()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker.run(stop, settings.grace_seconds)
    traces.close()
    cloudwatch.close()
    sys.stdout.flush()
    # Threads may still wait in a long poll; nothing is left that they could lose.
    os._exit(0)


def build(settings: Settings, identity: Identity, traces: Traces = OFF, metrics: Metrics | None = None) -> Worker:
    """Return a worker, wired from its settings."""
    clock, draw, metrics = Clock(), Draw(), metrics or Metrics()
    registry = Registry(settings.slots)
    dispatcher = Dispatcher(settings.url, token_source(settings, clock), settings.api_ca)
    scratch = Scratch(settings.cache_dir / "work", identity.worker)
    children = Children(settings.slots, os.environ, metrics)
    runner = make_runner(settings, children, scratch, clock, traces)
    reporter = Reporter(identity, dispatcher, registry, metrics, draw, traces)
    slots = Slots(registry, runner, reporter, metrics)
    protection = Protection(os.environ.get("ECS_AGENT_URI"), settings.protection_idle_seconds, clock)
    queue = Queue(settings.queue_url)
    claimer = Claimer(identity, dispatcher, metrics, clock, draw)
    metrics.serve(settings.metrics_host, settings.metrics_port, registry)
    return Worker(
        registry=registry,
        dispatcher=dispatcher,
        queue=queue,
        consumer=Consumer(queue, claimer, slots, protection, metrics),
        heartbeat=Heartbeat(identity, dispatcher, registry, draw),
        slots=slots,
        children=children,
        reporter=reporter,
        protection=protection,
        scratch=scratch,
        draw=draw,
    )


def make_runner(settings: Settings, children: Children, scratch: Scratch, clock: Clock, traces: Traces = OFF) -> Runner:
    """Return what runs attempts, wired from the settings."""
    objects = open_store(settings.object_store)
    workspace = Workspace(
        bundles=Bundles(objects, settings.cache_dir / "bundles", clock),
        scratch=scratch,
        objects_url=settings.object_store,
        hot=settings.hot_dsn.get_secret_value() if settings.hot_dsn else None,
        hot_auth=settings.database_auth,
    )
    return Runner(children, workspace, ChunkShipper(objects), clock, traces)


def token_source(settings: Settings, clock: Clock) -> TokenSource:
    """Return where the pool token comes from."""
    if settings.pool_token is not None:
        return FixedToken(settings.pool_token.get_secret_value())
    name = settings.pool_token_secret or ""
    client = boto3.client("secretsmanager", config=_SECRETS)
    return SecretToken(lambda: client.get_secret_value(SecretId=name)["SecretString"], clock)


def configure_logging(settings: Settings, **names: str) -> None:
    """Log lines of JSON, each with the names of this process, and none with its secrets."""
    loglines.configure(settings.log_level, names, os.environ)
    if settings.hot_dsn is not None:
        KNOWN.add_dsn(settings.hot_dsn.get_secret_value())
    if settings.pool_token is not None:
        KNOWN.add(settings.pool_token.get_secret_value())
