"""`python -m controller.deploy.migrate_task`: what a deployment does to the database, as a task inside the VPC.

It makes the database and its logins where they are missing, runs the migrations, and draws the secrets that have no value
yet. Each step may be repeated.
"""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING

import boto3
import msgspec
import psycopg
from botocore.config import Config
from botocore.exceptions import ClientError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from controller.aws.errors import calling, error_code
from controller.errors import SetpointError
from controller.store.bootstrap import create_database, ensure_logins
from controller.store.connect import CONNECT_SECONDS, connect
from controller.store.migrate import migrate
from crds.login import DatabaseAuth

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_secretsmanager import SecretsManagerClient

SECRET_BYTES = 32
ADMINISTRATION = "postgres"
"""The database that is always there."""
_NO_VALUE = "ResourceNotFoundException"


class Settings(BaseSettings):
    """Where the database and the secrets are."""

    model_config = SettingsConfigDict(env_prefix="SETPOINT_", frozen=True, extra="ignore", hide_input_in_errors=True)

    dsn: str = Field(description="libpq conninfo of the migration login")
    database_auth: DatabaseAuth = DatabaseAuth.IAM
    master_secret: str = Field(description="the secret with the administrator's username and password, as RDS keeps it")
    drawn_secrets: str = Field(
        default="", description="names of secrets, joined by commas, that get a value if they have none"
    )
    admin_token_secret: str = Field(
        default="", description="the name of the administrator's first API token, drawn likewise"
    )


def main() -> int:
    """Do all steps, saying each in a line; return 1 with the reason when one fails."""
    try:
        settings = Settings()
        run(settings, boto3.client("secretsmanager", config=Config(connect_timeout=5, read_timeout=10)), _say)
    except ValidationError as error:
        return _fail(f"the settings are wrong: {error}")
    except (SetpointError, RuntimeError, psycopg.Error, ValueError) as error:
        return _fail(str(error).strip())
    return 0


def run(settings: Settings, client: SecretsManagerClient, say: Callable[[str], object]) -> None:
    """Bring database, schema, logins and secrets to what this version needs."""
    if not _logs_in(settings):
        _create_database(settings, client)
        say("database and migration login are made")
    before, head = migrate(settings.dsn, settings.database_auth)
    say(f"the schema is at {head}" if before == head else f"the schema went from {before or 'nothing'} to {head}")
    with connect(settings.dsn, settings.database_auth) as connection:
        ensure_logins(connection, None, None)
    say("the logins of dispatcher and workers are there")
    wanted = [*settings.drawn_secrets.split(","), settings.admin_token_secret]
    drawn = draw(client, sorted({name.strip() for name in wanted if name.strip()}))
    say(f"drawn: {', '.join(drawn)}" if drawn else "every secret has a value")


def draw(client: SecretsManagerClient, names: Sequence[str]) -> list[str]:
    """Give each secret that has no value a random one; return their names. Values are said nowhere."""
    return [name for name in names if not _has_value(client, name) and _put(client, name)]


def _has_value(client: SecretsManagerClient, name: str) -> bool:
    with calling("secretsmanager", "GetSecretValue"):
        try:
            client.get_secret_value(SecretId=name)
        except ClientError as error:
            if error_code(error) == _NO_VALUE:
                return False
            raise
    return True


def _put(client: SecretsManagerClient, name: str) -> bool:
    with calling("secretsmanager", "PutSecretValue"):
        client.put_secret_value(SecretId=name, SecretString=secrets.token_urlsafe(SECRET_BYTES))
    return True


def _logs_in(settings: Settings) -> bool:
    try:
        connect(settings.dsn, settings.database_auth).close()
    except psycopg.OperationalError:
        # It may also be that nothing answers; the administrator's login then fails likewise, and says so.
        return False
    return True


def _create_database(settings: Settings, client: SecretsManagerClient) -> None:
    with calling("secretsmanager", "GetSecretValue"):
        found = client.get_secret_value(SecretId=settings.master_secret)["SecretString"]
    try:
        master = msgspec.json.decode(found, type=dict[str, object])
        user, password = str(master["username"]), str(master["password"])
    except (msgspec.DecodeError, KeyError):
        # The decoder's own words may quote the value.
        raise RuntimeError("the master secret holds no username and password, as RDS writes them") from None
    wanted = conninfo_to_dict(settings.dsn)
    conninfo = make_conninfo(settings.dsn, user=user, password=password, dbname=ADMINISTRATION)
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
        create_database(connection, None, str(wanted["dbname"]))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _fail(reason: str) -> int:
    sys.stderr.write(f"migrate: {reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
