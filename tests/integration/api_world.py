"""The resource API on a real Postgres and a real HTTP server, with workers' doings written as rows."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from obstore.store import MemoryStore
from psycopg_pool import ConnectionPool

from controller.api import app
from controller.api.endpoint import ApiDeps
from controller.api.resources import resource_routes
from controller.api.sources import EventSources
from controller.api.tokens import SharedTokens
from controller.runtime.clock import DatabaseClock
from controller.runtime.ids import DrawnIds
from controller.store import tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from controller.runtime.keys import Key
    from tests.conftest import Database

NAMESPACE = "/apis/setpoint.dev/v1/namespaces/default"

POOLS = [
    {"kind": "WorkerPool", "metadata": {"name": name}, "spec": {"runtime": name, "slots": 1, "maxTasks": 2}}
    for name in ("polars", "python", "ingest")
]


def task(name: str, needs: Iterable[str] = (), **more: Any) -> dict[str, Any]:
    """Return a python task."""
    return {"name": name, "runtime": "python", "needs": list(needs), "with": {"entrypoint": "main:run"}, **more}


def dag(name: str, *tasks: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return a Dag."""
    return {"kind": "Dag", "metadata": {"name": name}, "spec": {"tasks": list(tasks), **spec}}


def dataset(name: str, *columns: tuple[str, str], tier: str = "hot", **spec: Any) -> dict[str, Any]:
    """Return a Dataset."""
    described = [{"name": column, "type": type_} for column, type_ in columns]
    return {"kind": "Dataset", "metadata": {"name": name}, "spec": {"tier": tier, "columns": described, **spec}}


DIAMOND = dag("diamond", task("a"), task("b", ["a"]), task("c", ["a"]), task("d", ["b", "c"]))


class KnownSecrets:
    """Every secret's current and previous value."""

    def values(self, name: str) -> tuple[str, ...]:
        return (f"{name}-token", f"old-{name}-token")


@dataclass
class World:
    """A server, its store, and a client for each role."""

    url: str
    pool: ConnectionPool
    objects: MemoryStore
    woken: list[Key] = field(default_factory=list)

    def client(self, role: str = "admin") -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {role}-token"}, timeout=30, trust_env=False
        )

    def call(self, method: str, path: str, body: Any = None, role: str = "admin") -> httpx.Response:
        with self.client(role) as client:
            return client.request(method, path if path.startswith("/v1") else NAMESPACE + path, json=body)

    def get(self, path: str) -> Any:
        response = self.call("GET", path)
        assert response.status_code == 200, response.text
        return response.json()

    def apply(self, *resources: dict[str, Any]) -> list[dict[str, Any]]:
        response = self.call("POST", "/apply", {"resources": list(resources)})
        assert response.status_code == 200, response.text
        items: list[dict[str, Any]] = response.json()["items"]
        return items

    def trigger(self, dag_name: str, **body: Any) -> dict[str, Any]:
        response = self.call("POST", f"/dags/{dag_name}/trigger", body)
        assert response.status_code in {200, 201}, response.text
        run: dict[str, Any] = response.json()
        return run

    def execute(self, query: str, **params: Any) -> list[tuple[Any, ...]]:
        with self.pool.connection() as connection:
            cursor = connection.execute(query, params)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def start(self, run: dict[str, Any], phases: dict[str, str]) -> str:
        """Admit a run with its tasks in given phases, as the controller would."""
        uid = run["metadata"]["uid"]
        self.execute("UPDATE run SET phase = 'Running', started_at = now() WHERE uid = %(uid)s", uid=uid)
        for name, phase in phases.items():
            self.execute(
                """INSERT INTO task_run (run_uid, task, dag_uid, pool_uid, phase, ended_at, started_at, ready_at, not_before)
                   SELECT run.uid, %(task)s, run.dag_uid, pool.uid, %(phase)s, CASE WHEN %(final)s THEN now() END,
                          now(), now(), CASE WHEN %(phase)s = 'Backoff' THEN now() + interval '1 minute' END
                     FROM run JOIN resource pool ON pool.kind = 'WorkerPool' AND pool.name = 'python'
                    WHERE run.uid = %(uid)s""",
                uid=uid,
                task=name,
                phase=phase,
                final=phase in {"Succeeded", "Failed", "UpstreamFailed", "Skipped", "Cancelled"},
            )
        return str(uid)

    def end(self, uid: str, phase: str) -> None:
        self.execute("UPDATE run SET phase = %(phase)s, ended_at = now() WHERE uid = %(uid)s", phase=phase, uid=uid)

    def attempt(self, uid: str, name: str, phase: str, number: int = 1) -> str:
        """Write an attempt of a task."""
        attempt = f"{uid}/{name}/0/{number}"
        self.execute(
            """INSERT INTO attempt (id, run_uid, task, idx, number, dag_uid, pool_uid, phase, worker, token_hash, timeout,
                                    queue_by, sent_at, claimed_at, next_check_at, created_at, ended_at)
               SELECT %(id)s, run_uid, task, idx, %(number)s, dag_uid, pool_uid, %(phase)s, %(worker)s, %(token)s, '1h',
                      now(), now(), CASE WHEN %(worker)s::text IS NULL THEN NULL ELSE now() END, now(), now(),
                      CASE WHEN %(ended)s THEN now() END
                 FROM task_run WHERE run_uid = %(run)s AND task = %(task)s""",
            id=attempt,
            run=uid,
            task=name,
            number=number,
            phase=phase,
            worker=None if phase in {"Pending", "Queued"} else "w1",
            token=b"t",
            ended=phase not in {"Pending", "Queued", "Running", "Committed"},
        )
        return attempt

    def bundle(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        with self.client() as client:
            response = client.put(f"/v1/bundles/{digest}", content=data)
        assert response.status_code in {200, 201}, response.text
        return digest


@contextmanager
def running(database: Database) -> Iterator[World]:
    """Serve the resource API on a free port."""
    options = {"options": "-c search_path=setpoint"}
    with ConnectionPool(database.conninfo, kwargs=options, min_size=1, max_size=6, open=True) as pool:
        woken: list[Key] = []
        objects = MemoryStore()
        clock = DatabaseClock()
        with pool.connection() as connection:
            for role in ("viewer", "operator", "admin"):
                tokens.ensure_token(connection, f"{role}-token", role, role, clock.now(connection))
        deps = ApiDeps(pool, clock, DrawnIds(), woken.extend, objects)
        sources = EventSources(deps, SharedTokens(KnownSecrets(), str, clock.monotonic))
        server = app.Server(
            app.build([*sources.routes(), *resource_routes(deps)], lambda: None, lambda: None), "127.0.0.1", 0
        )
        server.start()
        try:
            yield World(f"http://127.0.0.1:{server.port}", pool, objects, woken)
        finally:
            server.stop(10)
