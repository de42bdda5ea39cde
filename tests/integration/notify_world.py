"""Receivers that people name in notifiers, played by real servers on this machine, and a dispatcher's deliverer before them."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from controller.informers.notifier import Notifier
from controller.notify.channels import Channels, NotifierSecrets
from controller.notify.sns import SnsTopics
from controller.runtime.clock import DatabaseClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import psycopg

    from controller.notify.message import Text
    from tests.conftest import Database

PATIENCE = 60.0
PREFIX = "setpoint/notifiers/"
FACTS = {
    "kind": "DagRun",
    "namespace": "default",
    "name": "flights-0192",
    "dag": "flights",
    "reason": "TaskFailed",
    "message": "1 task failed",
    "at": "2026-03-02T08:03:20+00:00",
    "started": "2026-03-02T08:00:00+00:00",
    "trigger": "schedule",
    "failed": 1,
    "tasks": [{"task": "load", "index": 0, "reason": "UserError", "message": "ValueError: a <bad> row & more\nline 2"}],
}


@dataclass
class Received:
    """One request that a receiver got."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Receiver:
    """An HTTP server that records, and answers as it is told to."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """What the next requests get; then 200."""
    hangs: threading.Event | None = None
    """If set, an answer waits for it."""

    def ids(self) -> list[str]:
        return [r.headers["Idempotency-Key"] for r in self.received]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Serve a receiver on a free port."""
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.received.append(Received(self.path, dict(self.headers), json.loads(body)))
            if told.hangs is not None:
                told.hangs.wait(PATIENCE)
            status, headers = told.answers.pop(0) if told.answers else (200, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok" if status == 200 else b"no_service")

        do_GET = do_POST  # noqa: N815 - as http.server calls it

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    told.url = f"http://127.0.0.1:{server.server_port}/services/T0/B0/the-secret-part"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        if told.hangs is not None:
            told.hangs.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


@dataclass
class ShiftedClock:
    """Postgres's time, moved on by the test."""

    by: timedelta = timedelta(0)

    def now(self, connection: psycopg.Connection) -> datetime:
        return DatabaseClock().now(connection) + self.by

    def monotonic(self) -> float:
        return time.monotonic() + self.by.total_seconds()


class KnownSecrets:
    """Secrets by name, each with one value."""

    def __init__(self, **values: str) -> None:
        self.known = {PREFIX + name: value for name, value in values.items()}

    def values(self, name: str) -> Sequence[str]:
        return [self.known[name]] if name in self.known else []


class RecordedTopics:
    """Topics that keep what is published."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str]] = []

    def publish(self, topic: str, text: Text) -> None:
        self.published.append((topic, text.id))


@dataclass
class Desk:
    """A database with notifiers, and deliverers on it."""

    pool: ConnectionPool
    secrets: KnownSecrets
    clock: ShiftedClock = field(default_factory=ShiftedClock)

    def deliverer(self, channels: Channels | None = None) -> Notifier:
        """Return a deliverer, as one dispatcher has."""
        secrets = NotifierSecrets(self.secrets, PREFIX, self.clock.monotonic)
        made = channels or Channels(secrets, SnsTopics(), "https://pipelines.example.com")
        return Notifier(self.pool, self.clock, made, lambda: True)

    def notifier(self, name: str, **channel: Any) -> str:
        """Write a notifier as apply does."""
        self.execute(
            """INSERT INTO resource (uid, kind, namespace, name, spec, created_at)
               VALUES (%(uid)s, 'Notifier', 'default', %(name)s, %(spec)s, now())""",
            uid=f"nt-{name}",
            name=name,
            spec=Jsonb({"on": ["RunFailed"], "selector": {"matchLabels": {}}, **channel}),
        )
        return f"nt-{name}"

    def due(self, notifier: str, count: int = 1, **facts: Any) -> None:
        """Write notifications that are due."""
        self.execute(
            """INSERT INTO notification (id, notifier_uid, object_uid, transition, occasion, facts, created_at, next_at)
               SELECT %(notifier)s || '-' || n, %(notifier)s, 'run-' || n, 'run/1', 'RunFailed', %(facts)s,
                      now() + %(by)s, now() + %(by)s
                 FROM generate_series(1, %(count)s) n""",
            notifier=notifier,
            count=count,
            facts=Jsonb(FACTS | facts),
            by=self.clock.by,
        )

    def execute(self, query: str, **params: Any) -> list[tuple[Any, ...]]:
        with self.pool.connection() as connection:
            cursor = connection.execute(query, params)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def pending(self) -> int:
        return int(
            self.execute("SELECT count(*) FROM notification WHERE sent_at IS NULL AND given_up_at IS NULL")[0][0]
        )

    def state(self, notifier: str) -> tuple[Any, ...]:
        rows = self.execute(
            "SELECT failures, reason, error, sent_at FROM notifier_state WHERE notifier_uid = %(uid)s", uid=notifier
        )
        return rows[0] if rows else (0, None, None, None)

    def round(self, *deliverers: Notifier) -> int:
        """Have each deliverer look once, and wait until what they sent is done; return how much that was."""
        started = sum(d.look() for d in deliverers)
        wait_until(lambda: not any(d.sending() for d in deliverers))
        return started


@contextmanager
def desk(database: Database, **secrets: str) -> Iterator[Desk]:
    """Open a database for deliverers."""
    options = {"options": "-c search_path=setpoint"}
    with ConnectionPool(database.conninfo, kwargs=options, min_size=1, max_size=12, open=True) as pool:
        yield Desk(pool, KnownSecrets(**secrets))


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)
