"""A dispatcher's whole HTTP side on a real Postgres and a real port, with all that is secret known, to be looked for."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import structlog
from obstore.store import MemoryStore
from psycopg import sql
from psycopg_pool import ConnectionPool

from controller.api import app
from controller.api.endpoint import ApiDeps
from controller.api.grants import Grants
from controller.api.protocol import WorkerProtocol
from controller.api.reporting import Reporting
from controller.api.resources import resource_routes
from controller.api.sources import SOURCES, EventSources
from controller.api.tokens import ClaimTokens, SharedTokens
from controller.api.workers import WorkerApi
from controller.runtime.clock import DatabaseClock
from controller.runtime.ids import DrawnIds
from controller.store import tokens
from controller.store.revisions import Revisions
from tests.conftest import PASSWORD
from tests.integration.api_world import NAMESPACE, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.conftest import Database

DEADLINE_SECONDS = 60.0
SIGNING_KEY = "the-signing-key-of-the-claims"
POOL_TOKENS = {
    SOURCES: ("the-token-of-the-event-sources",),
    "python": ("the-token-of-the-pool-python", "the-token-before-it"),
    "polars": ("the-token-of-the-pool-polars",),
}
ROLE_TOKENS = {role: f"the-token-of-the-{role}" for role in ("viewer", "operator", "admin")}
"""Long and odd, so that no harmless text holds one by chance."""
WEBHOOK = "the-secret-that-signs-webhooks"

ALL_SECRETS = (
    SIGNING_KEY,
    WEBHOOK,
    PASSWORD,
    *ROLE_TOKENS.values(),
    *(t for both in POOL_TOKENS.values() for t in both),
)


class KeptSecrets:
    """Secret values by name, where production asks Secrets Manager."""

    def values(self, name: str) -> Sequence[str]:
        return POOL_TOKENS.get(name, ())


@dataclass
class Doors:
    """The running dispatcher, seen from outside and from its database."""

    world: World
    database: Database
    log: io.StringIO
    told: set[str] = field(default_factory=lambda: set(ALL_SECRETS))

    @property
    def url(self) -> str:
        return self.world.url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Any = None,
        *,
        role: str = "admin",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request as a person; a path that does not begin with /v1 or /apis lies in the namespace."""
        full = path if path.startswith(("/v1", "/apis", "/openapi")) else NAMESPACE + path
        given = {"Authorization": f"Bearer {ROLE_TOKENS[role]}", **(headers or {})}
        return self._send(method, full, body, given)

    def work(self, path: str, body: bytes | Any, *, token: str = POOL_TOKENS["python"][0]) -> httpx.Response:
        """Send a request as a worker, or as an event source."""
        return self._send("POST", path, body, {"Authorization": f"Bearer {token}"})

    def raw(self, data: bytes, *, leave: bool = False) -> bytes:
        """Send bytes as they are; return the answer, or nothing if the other side closes. `leave`: send no more."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS) as connection:
            connection.sendall(data)
            if leave:
                connection.shutdown(socket.SHUT_WR)
            found = b""
            while not _complete(found) and (piece := connection.recv(65_536)):
                found += piece
        return found

    def _send(self, method: str, path: str, body: bytes | Any, headers: Mapping[str, str]) -> httpx.Response:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        with httpx.Client(base_url=self.url, timeout=DEADLINE_SECONDS, trust_env=False) as client:
            return client.request(method, path, content=content, headers=dict(headers))

    def state(self) -> dict[str, str]:
        """Return a digest of each control table and of the object store; the audit log tells of refusals too."""
        with psycopg.connect(self.database.superuser_conninfo) as connection:
            names = [
                row[0]
                for row in connection.execute(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'setpoint' AND tablename <> 'audit' ORDER BY tablename"
                )
            ]
            found = {name: _digest(connection, name) for name in names}
        keys = sorted(meta["path"] for page in self.world.objects.list() for meta in page)
        return {**found, "objects": hashlib.sha256("\n".join(keys).encode()).hexdigest()}

    def refused(self, response: httpx.Response) -> None:
        """Check that an answer is a refusal that says why, in the form that all refusals have."""
        assert 400 <= response.status_code < 500, (response.status_code, response.text[:500])
        self.discreet(response)
        if response.request.method == "HEAD":
            return
        status = response.json()
        assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", response.status_code)
        assert status["message"], status
        assert len(response.content) < 64 * 1024, "a refusal does not repeat what was sent"

    def discreet(self, response: httpx.Response) -> None:
        """Check that an answer tells no secret."""
        heard = response.text + repr(response.headers.raw)
        assert not [secret for secret in self.told if secret in heard]

    def token_free(self, value: Any) -> bool:
        """Tell whether a value holds no secret."""
        return not [secret for secret in self.told if secret in json.dumps(value)]

    def check_log(self) -> None:
        """Check that the log tells no secret, and of no failure that nobody foresaw."""
        text = self.log.getvalue()
        assert not [secret for secret in self.told if secret in text]
        assert "Traceback" not in text, text[-4_000:]
        assert "request failed" not in text, text[-4_000:]


def _complete(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def _digest(connection: psycopg.Connection, table: str) -> str:
    query = sql.SQL("SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) FROM setpoint.{} t")
    row = connection.execute(query.format(sql.Identifier(table))).fetchone()
    assert row is not None
    return str(row[0])


@contextmanager
def open_doors(database: Database) -> Iterator[Doors]:
    """Serve everything that a dispatcher serves, on a free port, with some work in it."""
    log = io.StringIO()
    options = {"options": "-c search_path=setpoint"}
    with ConnectionPool(database.conninfo, kwargs=options, min_size=1, max_size=12, open=True) as pool, _logged(log):
        world = _world(pool)
        deps = ApiDeps(pool, DatabaseClock(), DrawnIds(), lambda keys: world.woken.extend(keys), world.objects)  # noqa: PLW0108 - a Wake names its parameter
        shared = SharedTokens(KeptSecrets(), str, deps.clock.monotonic)
        revisions = Revisions()
        grants = Grants(revisions, ClaimTokens(SIGNING_KEY.encode()))
        protocol = WorkerProtocol(pool, deps.clock, grants, deps.wake)
        reporting = Reporting(pool, deps.clock, revisions, grants, deps.wake, lambda sends: None)
        workers = WorkerApi(protocol, reporting, shared)
        routes = [*workers.routes(), *EventSources(deps, shared).routes(), *resource_routes(deps)]
        server = app.Server(app.build(routes, lambda: None, lambda: None), "127.0.0.1", 0)
        workers.start()
        server.start()
        world.url = f"http://127.0.0.1:{server.port}"
        try:
            yield Doors(world, database, log)
        finally:
            server.stop(10)
            workers.stop(10)


def _world(pool: ConnectionPool) -> World:
    clock = DatabaseClock()
    with pool.connection() as connection:
        now = clock.now(connection)
        for role, token in ROLE_TOKENS.items():
            tokens.ensure_token(connection, token, role, role, now)
    return World("", pool, MemoryStore())


@contextmanager
def _logged(log: io.StringIO) -> Iterator[None]:
    """Keep what the dispatcher and its HTTP server log, exceptions with their tracebacks."""
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(file=log),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        structlog.configure(**before)
