"""`python -m workers --check`: whether a worker could work here. It changes nothing and receives no message."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Literal

import boto3
import psycopg
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import NotFoundError, PermissionDeniedError

from crds.login import credentials
from crds.names import bundle_key
from crds.protocol import ReportRequest
from workers import settings as settings_module
from workers.client import Dispatcher, Refused, Unreachable
from workers.clock import Clock
from workers.main import token_source
from workers.objects import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workers.settings import Settings

Output = Literal["text", "json"]

MAX_REASON_CHARS = 500
CONNECT_SECONDS = 5
_AWS = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to, and how to mend it."""

    name: str
    ok: bool
    said: str
    mend: str = ""

    def line(self) -> str:
        """Return it as people read it."""
        mend = f"; {self.mend}" if self.mend else ""
        return f"{'ok    ' if self.ok else 'FAILED'}  {self.name:<10} {self.said}{mend}"


def main(output: Output, write: Callable[[str], object] = sys.stdout.write) -> int:
    """Check everything that a worker needs, write what was found, and return 1 if one failed."""
    findings = list(_findings())
    if output == "json":
        write(json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    else:
        write("".join(f"{finding.line()}\n" for finding in findings))
    return 0 if all(finding.ok for finding in findings) else 1


def _findings() -> Iterator[Finding]:
    try:
        settings = settings_module.read()
    except ValueError as error:
        yield Finding("settings", ok=False, said=_short(error), mend="set them as workers/README.md says")
        return
    yield Finding("settings", ok=True, said=f"pool {settings.namespace}/{settings.pool}, setpoint {_version()}")
    checks: dict[str, tuple[Callable[[Settings], str], str]] = {
        "role": (_role, ""),
        "dispatcher": (_dispatcher, "see SETPOINT_URL, SETPOINT_API_CA, and the secret of the pool token"),
        "queue": (_queue, "see SETPOINT_QUEUE_URL, and that the role may sqs:GetQueueAttributes there"),
        "database": (_database, "see SETPOINT_HOT_DSN, SETPOINT_DATABASE_AUTH, and that the migrations have run"),
        "objects": (_objects, "see SETPOINT_OBJECT_STORE, and that the role may s3:GetObject below bundles/"),
    }
    for name, (check, mend) in checks.items():
        try:
            yield Finding(name, ok=True, said=check(settings))
        except Exception as error:  # noqa: BLE001 - whatever it is, the person who asked must see it
            yield Finding(name, ok=False, said=f"{type(error).__name__}: {_short(error)}", mend=mend)


def _version() -> str:
    try:
        return metadata.version("setpoint")
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _role(_settings: Settings) -> str:
    try:
        return str(boto3.client("sts", config=_AWS).get_caller_identity()["Arn"])
    except (ClientError, BotoCoreError) as error:
        # Only a name for people; what the role may do is seen below.
        return f"unknown ({type(error).__name__})"


def _dispatcher(settings: Settings) -> str:
    """Report nothing: the one request that needs the token and leaves no trace."""
    dispatcher = Dispatcher(settings.url, token_source(settings, Clock()), settings.api_ca)
    try:
        dispatcher.report(ReportRequest(reports=[], pool=settings.pool, namespace=settings.namespace))
    except (Unreachable, Refused) as error:
        raise ConnectionError(str(error)) from error
    return f"{settings.url} takes the token of pool {settings.pool}"


def _queue(settings: Settings) -> str:
    sqs = boto3.client("sqs", config=_AWS)
    answer = sqs.get_queue_attributes(
        QueueUrl=settings.queue_url, AttributeNames=["ApproximateNumberOfMessages", "VisibilityTimeout"]
    )
    return f"{settings.queue_url}, about {answer['Attributes']['ApproximateNumberOfMessages']} messages wait"


def _database(settings: Settings) -> str:
    if settings.hot_dsn is None:
        return "no login: this worker reaches no hot tables"
    conninfo = settings.hot_dsn.get_secret_value()
    with psycopg.connect(
        conninfo, connect_timeout=CONNECT_SECONDS, **credentials(conninfo, settings.database_auth)
    ) as connection:
        row = connection.execute("SELECT current_user, has_schema_privilege('fence', 'usage')").fetchone()
    user, may_write = row or ("nobody", False)
    if not may_write:
        raise PermissionError(f"{user} is no member of setpoint_worker")
    return f"as {user}"


def _objects(settings: Settings) -> str:
    """Look for a bundle that cannot be: S3 says that it is missing, or to a role that may not list, that it is refused."""
    try:
        open_store(settings.object_store).head(bundle_key("check"))
    except (NotFoundError, FileNotFoundError):
        return settings.object_store
    except (PermissionDeniedError, PermissionError):
        return f"{settings.object_store} answers; what may be read is seen with the first bundle"
    return settings.object_store


def _short(error: Exception) -> str:
    return str(error).strip()[:MAX_REASON_CHARS]
