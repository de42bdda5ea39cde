"""The deployment's task in the database: everything from an administrator's login, and again without change."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from controller.deploy import migrate_task
from controller.deploy.migrate_task import Settings
from controller.local.postgres import Server, temporary_server
from controller.store.bootstrap import DISPATCHER, IAM_ROLE, MIGRATOR, WORKER
from controller.store.connect import connect
from controller.store.migrate import head
from crds.login import DatabaseAuth

if TYPE_CHECKING:
    from collections.abc import Iterator

MASTER, PASSWORD = "master", "only-for-tests"
SECRETS = ("setpoint-dev/signing-key", "setpoint-dev/pools/python", "setpoint-dev/webhooks/shop")
ADMIN_TOKEN = "setpoint-dev/admin-token"


@dataclass
class Rds:
    """A Postgres with RDS's roles, and Secrets Manager with what Terraform puts there."""

    server: Server
    client: Any
    said: list[str]

    def settings(self, **more: Any) -> Settings:
        return Settings(
            dsn=self.server.dsn(MIGRATOR, "setpoint"),
            database_auth=DatabaseAuth.IAM,
            master_secret="rds!db-master",
            drawn_secrets=",".join(SECRETS),
            admin_token_secret=ADMIN_TOKEN,
            **more,
        )

    def run(self) -> list[str]:
        self.said.clear()
        migrate_task.run(self.settings(), self.client, self.said.append)
        return self.said

    def value(self, name: str) -> str:
        return str(self.client.get_secret_value(SecretId=name)["SecretString"])


@pytest.fixture(scope="module")
def secrets_manager() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    make: Any = boto3.client
    yield make(
        "secretsmanager",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    server.stop()


@pytest.fixture
def rds(secrets_manager: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rds]:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "t"),
        ("AWS_SECRET_ACCESS_KEY", "t"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    for name in (*SECRETS, ADMIN_TOKEN, "rds!db-master"):
        secrets_manager.create_secret(Name=name)
    secrets_manager.put_secret_value(
        SecretId="rds!db-master", SecretString=json.dumps({"username": MASTER, "password": PASSWORD})
    )
    with temporary_server() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            # RDS's administrator is no superuser; its tokens are checked by RDS, whose place `trust` takes here.
            connection.execute(f"CREATE ROLE {MASTER} LOGIN CREATEROLE CREATEDB PASSWORD '{PASSWORD}'")
            connection.execute(f"CREATE ROLE {IAM_ROLE}")
            (rules,) = connection.execute("SHOW hba_file").fetchone() or ("",)
        _trust_tokens(rules)
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
        yield Rds(server, secrets_manager, [])
    for name in (*SECRETS, ADMIN_TOKEN, "rds!db-master"):
        secrets_manager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def _trust_tokens(rules: str) -> None:
    file = Path(rules)
    file.write_text(f"host all +{IAM_ROLE} 127.0.0.1/32 trust\n{file.read_text()}")


def test_everything_is_made_from_the_administrators_login(rds: Rds) -> None:
    said = rds.run()
    assert said[0] == "database and migration login are made"
    assert said[1] == f"the schema went from nothing to {head()}"
    assert said[-1] == f"drawn: {', '.join(sorted((*SECRETS, ADMIN_TOKEN)))}"

    dsn = rds.server.dsn(DISPATCHER, "setpoint")
    with connect(dsn, DatabaseAuth.IAM) as connection:
        assert connection.execute("SELECT count(*) FROM run").fetchone() == (0,)
    with psycopg.connect(rds.server.dsn(WORKER, "setpoint")) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("15min",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT count(*) FROM setpoint.run")


def test_a_second_time_changes_nothing(rds: Rds) -> None:
    rds.run()
    before = {name: rds.value(name) for name in (*SECRETS, ADMIN_TOKEN)}
    assert len(set(before.values())) == len(before)
    assert rds.run() == [
        f"the schema is at {head()}",
        "the logins of dispatcher and workers are there",
        "every secret has a value",
    ]
    assert {name: rds.value(name) for name in before} == before


def test_no_value_is_said(rds: Rds) -> None:
    said = "\n".join(rds.run())
    assert PASSWORD not in said
    assert not any(rds.value(name) in said for name in (*SECRETS, ADMIN_TOKEN))


def test_a_new_pool_gets_its_token_alone(rds: Rds) -> None:
    rds.run()
    rds.client.create_secret(Name="setpoint-dev/pools/new")
    before = rds.value(SECRETS[0])
    assert migrate_task.draw(rds.client, [*SECRETS, "setpoint-dev/pools/new"]) == ["setpoint-dev/pools/new"]
    assert rds.value(SECRETS[0]) == before
    rds.client.delete_secret(SecretId="setpoint-dev/pools/new", ForceDeleteWithoutRecovery=True)


def test_without_iam_authentication_it_says_what_to_do(rds: Rds) -> None:
    with psycopg.connect(rds.server.dsn(), autocommit=True) as connection:
        connection.execute(f"DROP ROLE {IAM_ROLE}")
    with pytest.raises(RuntimeError, match="switch on IAM database authentication"):
        rds.run()


def test_a_master_secret_of_another_shape_is_not_repeated(rds: Rds) -> None:
    rds.client.put_secret_value(SecretId="rds!db-master", SecretString=f'["{PASSWORD}"]')
    with pytest.raises(RuntimeError, match="holds no username and password") as failure:
        rds.run()
    assert PASSWORD not in str(failure.value)
