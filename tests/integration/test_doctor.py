"""The doctor on a real Postgres and a real local SQS and ECS: each thing that breaks turns its own check red."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pytest
from obstore.store import LocalStore

from controller.doctor import Check, Status, examine
from controller.examinations import Examination
from controller.runtime.clock import DatabaseClock
from controller.runtime.ids import DrawnIds
from controller.settings import Settings
from controller.world import World
from tests.integration.api_world import POOLS, running
from tests.integration.worker_world import sqs_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Database


@dataclass(frozen=True, slots=True)
class Service:
    """What ECS says of a service."""

    desired: int = 1
    running: int = 1


class Services:
    """A cluster whose services can go."""

    def __init__(self) -> None:
        self.gone: set[str] = set()

    def counts(self, service: str) -> Any:
        return None if service in self.gone else Service()


class Secrets:
    """Secrets that can go."""

    def __init__(self) -> None:
        self.gone: set[str] = set()

    def values(self, name: str) -> tuple[str, ...]:
        return () if name in self.gone else ("a value",)


@dataclass
class Patient:
    """A healthy system, and what can be broken of it."""

    database: Database
    services: Services
    secrets: Secrets
    sqs: Any
    folder: Path
    world: World
    settings: Settings

    def found(self) -> dict[str, Any]:
        examination = Examination(self.settings, self.world, self.database.connect)
        return {finding.name: finding for finding in examine(examination.checks(), within=60)}

    def owner(self, statement: str) -> None:
        with psycopg.connect(self.database.migrator_conninfo, options="-c search_path=setpoint") as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def queue(self, name: str, **attributes: str) -> str:
        given = {"FifoQueue": "true", **attributes}
        return str(self.sqs.create_queue(QueueName=name, Attributes=given)["QueueUrl"])

    def url(self, name: str) -> str:
        return str(self.sqs.get_queue_url(QueueName=name)["QueueUrl"])


@pytest.fixture
def patient(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patient]:
    with sqs_server() as url, running(database) as api:
        api.apply(*POOLS)
        for name, value in {
            "AWS_ENDPOINT_URL_SQS": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-west-1",
        }.items():
            monkeypatch.setenv(name, value)
        sqs = boto3.client("sqs")
        services, secrets = Services(), Secrets()
        objects = LocalStore(tmp_path / "objects", mkdir=True)
        world = World(None, None, services, secrets, objects, DatabaseClock(), DrawnIds(), None)  # type: ignore[arg-type]
        settings = Settings(dsn=database.conninfo, object_store=f"file://{tmp_path / 'objects'}")
        made = Patient(database, services, secrets, sqs, tmp_path, world, settings)
        for pool in ("polars", "python", "ingest"):
            dead = made.queue(f"setpoint-{pool}-dlq.fifo")
            arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            redrive = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":3}}'
            made.queue(f"setpoint-{pool}.fifo", VisibilityTimeout="300", RedrivePolicy=redrive)
        api.execute(
            "INSERT INTO lease VALUES ('dispatcher', 'one', 1, now() + interval '1 hour')"
            " ON CONFLICT (name) DO UPDATE SET expires_at = excluded.expires_at"
        )
        yield made


def _short_visibility(patient: Patient) -> None:
    url = patient.url("setpoint-python.fifo")
    patient.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "10"})


def _no_redrive(patient: Patient) -> None:
    patient.sqs.set_queue_attributes(QueueUrl=patient.url("setpoint-python.fifo"), Attributes={"RedrivePolicy": ""})


def _store_is_a_file(patient: Patient) -> None:
    folder = patient.folder / "objects"
    shutil.rmtree(folder)
    folder.write_text("no folder")


@pytest.mark.parametrize(
    ("name", "damage", "status", "says"),
    [
        pytest.param("leader", lambda p: p.owner("DELETE FROM lease"), "failed", "ever led", id="no leader"),
        pytest.param(
            "leader", lambda p: p.owner("UPDATE lease SET expires_at = now() - interval '9 s'"), "failed", "nobody leads",
            id="a lease that ran out",
        ),
        pytest.param(
            "rights", lambda p: p.owner("REVOKE SELECT ON event FROM setpoint_controller"), "failed", "event", id="a right"
        ),
        pytest.param(
            "schema", lambda p: p.owner("UPDATE setpoint_migrations.version SET version_num = '0001'"), "failed", "0001",
            id="an old schema",
        ),
        pytest.param(
            "schema", lambda p: p.owner("UPDATE setpoint_migrations.version SET version_num = '9999'"), "warning", "older",
            id="a new schema",
        ),
        pytest.param(
            "queues", lambda p: p.sqs.delete_queue(QueueUrl=p.url("setpoint-python.fifo")), "failed", "setpoint-python",
            id="a queue that is gone",
        ),
        pytest.param("queues", _short_visibility, "failed", "visibility", id="a short visibility"),
        pytest.param("queues", _no_redrive, "failed", "redrive", id="no redrive policy"),
        pytest.param("services", lambda p: p.services.gone.add("python"), "failed", "python", id="no service"),
        pytest.param(
            "secrets", lambda p: p.secrets.gone.add("setpoint/signing-key"), "failed", "signing-key", id="no secret"
        ),
        pytest.param("objects", _store_is_a_file, "failed", "", id="no object store"),
        pytest.param(
            "informers",
            lambda p: p.owner("UPDATE resource SET created_at = now() - interval '1 hour' WHERE kind = 'WorkerPool'"),
            "failed", "nobody has looked", id="pools that nobody looks at",
        ),
        pytest.param(
            "dead-letters",
            lambda p: p.owner(
                "INSERT INTO pool_observation (pool_uid, dead_letters, queue_observed_at)"
                " SELECT uid, 2, now() FROM resource WHERE kind = 'WorkerPool' AND name = 'python'"
            ),
            "warning", "python: 2", id="dead letters",
        ),
    ],
)  # fmt: skip
def test_what_breaks_turns_its_own_check_red(
    patient: Patient, name: str, damage: Callable[[Patient], None], status: str, says: str
) -> None:
    assert {n: f.message for n, f in patient.found().items() if f.status is not Status.OK} == {}
    damage(patient)
    found = {n: f for n, f in patient.found().items() if f.status is not Status.OK}
    assert set(found) == {name}
    assert found[name].status == status
    assert says in found[name].message
    assert found[name].remedy


def test_without_a_database_the_rest_is_examined(patient: Patient) -> None:
    dead = replace(patient.database, conninfo="host=127.0.0.1 port=1 connect_timeout=2 password=only-for-tests")
    examination = Examination(patient.settings, patient.world, dead.connect)
    found = {finding.name: finding for finding in examine(examination.checks(), within=60)}
    assert found["database"].status is Status.FAILED
    assert found["secrets"].status is found["objects"].status is Status.OK
    assert "only-for-tests" not in str(found)


def test_a_check_that_hangs_delays_no_other() -> None:
    gate = threading.Event()
    checks = [Check("hangs", lambda: str(gate.wait(60)), "mend it"), Check("works", lambda: "well", "")]
    try:
        hangs, works = examine(checks, within=0.5)
    finally:
        gate.set()
    assert (hangs.status, works.status) == (Status.FAILED, Status.OK)
    assert hangs.remedy == "mend it"
