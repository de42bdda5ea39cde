"""A database with one running attempt, and the grant and services that a worker's child would have for it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import obstore.store
import psycopg
from psycopg import sql

from controller.store.migrate import ensure_login, migrate
from crds.names import AttemptId, attempt_id, hot_table
from crds.protocol import DatasetRef, Grant, TaskInput
from workers.task import Services

if TYPE_CHECKING:
    from pathlib import Path

    from controller.local.postgres import Server

TOKEN = "the token of the claim"
PASSWORD = "worker"


@dataclass
class World:
    """One migrated database, one object store folder, any number of attempts."""

    name: str
    admin: str
    worker: str
    folder: Path
    secrets: dict[str, str] = field(default_factory=dict)
    progress: list[tuple[int, str]] = field(default_factory=list)
    datasets: dict[str, DatasetRef] = field(default_factory=dict)
    attempts: int = 0

    @property
    def objects_url(self) -> str:
        return f"file://{self.folder}/objects"

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.admin) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def execute(self, query: str, values: tuple[Any, ...] = ()) -> None:
        with psycopg.connect(self.admin) as connection:
            connection.execute(query, values)  # type: ignore[arg-type]

    def dataset(self, name: str, spec: dict[str, Any]) -> DatasetRef:
        uid = f"ds-{name}"
        self.execute(
            "INSERT INTO setpoint.resource (uid, kind, namespace, name, spec, created_at) "
            "VALUES (%s, 'Dataset', 'default', %s, %s, now())",
            (uid, name, json.dumps(spec)),
        )
        self.execute("SELECT setpoint.ensure_hot_table(%s)", (uid,))
        table = hot_table(name) if spec["tier"] == "hot" else None
        self.datasets[name] = DatasetRef(name=name, uid=uid, spec=spec, table=table)
        return self.datasets[name]

    def grant(
        self,
        task: dict[str, Any],
        *,
        inputs: dict[str, Any] | None = None,
        outputs: dict[str, tuple[str, str]] | None = None,
        **more: Any,
    ) -> Grant:
        """Record a revision, a run and a running attempt of `task`; `outputs`: alias → (dataset, mode)."""
        self.attempts += 1
        number = self.attempts
        declared = {alias: {"dataset": d, "mode": m} for alias, (d, m) in (outputs or {}).items()}
        task = {"name": "work", "outputs": declared, **task}
        attempt = attempt_id(f"run{number}", "work", 0, 1)  # type: ignore[arg-type]
        self._record(number, attempt, {"tasks": [task]})
        return Grant(
            attempt=attempt,
            token=TOKEN,
            task=task,
            dag="example",
            run=f"example-{number}",
            namespace="default",
            number=1,
            timeout_seconds=60.0,
            inputs={alias: self._input(value) for alias, value in (inputs or {}).items()},
            outputs={
                alias: DatasetRef(
                    name=d,
                    uid=self.datasets[d].uid,
                    spec=self.datasets[d].spec,
                    table=self.datasets[d].table,
                    mode=m,
                )
                for alias, (d, m) in (outputs or {}).items()
            },
            **more,
        )

    def services(self, bundle: Path | None = None, *, hot: bool = True) -> Services:
        workdir = self.folder / f"work-{self.attempts}"
        workdir.mkdir(exist_ok=True)
        return Services(
            objects=obstore.store.from_url(self.objects_url, mkdir=True),
            objects_url=self.objects_url,
            hot=self.worker if hot else None,
            secrets=self.secrets.__getitem__,
            bundle=bundle,
            workdir=workdir,
            progress=lambda rows, message: self.progress.append((rows, message)),
        )

    def _input(self, value: Any) -> TaskInput:
        return TaskInput(dataset=value) if isinstance(value, DatasetRef) else TaskInput(value=value)

    def _record(self, number: int, attempt: AttemptId, spec: dict[str, Any]) -> None:
        dag, run = f"dag-{number}", f"run{number}"
        self.execute(
            "INSERT INTO setpoint.resource (uid, kind, namespace, name, spec, created_at) "
            "VALUES (%s, 'Dag', 'default', %s, '{}', now())",
            (dag, dag),
        )
        self.execute(
            "INSERT INTO setpoint.revision (dag_uid, generation, spec, created_at) VALUES (%s, 1, %s, now())",
            (dag, json.dumps(spec)),
        )
        self.execute(
            "INSERT INTO setpoint.run (uid, namespace, name, dag_uid, dag, revision, key, trigger, deadline, "
            "created_at) VALUES (%s, 'default', %s, %s, %s, 1, %s, 'manual', now() + '1 day', now())",
            (run, run, dag, dag, run),
        )
        self.execute(
            "INSERT INTO setpoint.attempt (id, run_uid, task, idx, number, dag_uid, pool_uid, phase, worker, "
            "token_hash, timeout, queue_by, next_check_at, created_at) "
            "VALUES (%s, %s, 'work', 0, 1, %s, 'pool', 'Running', 'w', %s, '1 hour', now(), now(), now())",
            (attempt, run, dag, hashlib.sha256(TOKEN.encode()).digest()),
        )


def create_world(server: Server, name: str, folder: Path) -> World:
    """Create and migrate a database with a worker's login."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    admin = server.dsn(dbname=name)
    migrate(admin)
    with psycopg.connect(admin, autocommit=True) as connection:
        ensure_login(connection, "operators_worker", PASSWORD, "setpoint_worker", {})
    return World(name, admin, server.dsn("operators_worker", name, PASSWORD), folder)
