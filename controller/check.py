"""`python -m controller.main --check`: whether a dispatcher could work here; it changes nothing."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

import boto3
import obstore
from botocore.exceptions import BotoCoreError, ClientError

from controller.store import migrate
from controller.store.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.settings import Settings
    from controller.world import World

LIST_LIMIT = 1

_VERSION: LiteralString = "SELECT current_user, coalesce(max(version_num), '') FROM setpoint_migrations.version"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to."""

    name: str
    ok: bool
    said: str


def run(settings: Settings, world: World, write: Callable[[str], object] = sys.stdout.write) -> int:
    """Check everything that a dispatcher needs, print a line for each, and return 1 if one failed."""
    findings = list(_findings(settings, world))
    for finding in findings:
        write(f"{'ok    ' if finding.ok else 'FAILED'}  {finding.name:<9} {finding.said}\n")
    return 0 if all(finding.ok for finding in findings) else 1


def _findings(settings: Settings, world: World) -> Iterable[Finding]:
    checks: dict[str, Callable[[], str]] = {
        "role": _role,
        "database": lambda: _database(settings),
        "secrets": lambda: _secrets(settings, world),
        "objects": lambda: _objects(settings, world),
        "cluster": lambda: _cluster(settings, world),
    }
    for name, check in checks.items():
        try:
            yield Finding(name, ok=True, said=check())
        except Exception as error:  # noqa: BLE001 - whatever it is, the person who asked must see it
            yield Finding(name, ok=False, said=f"{type(error).__name__}: {str(error).strip()[:500]}")


def _role() -> str:
    try:
        return str(boto3.client("sts").get_caller_identity()["Arn"])
    except (ClientError, BotoCoreError) as error:
        # Only a name for people; what the role may do is seen below.
        return f"unknown ({type(error).__name__})"


def _database(settings: Settings) -> str:
    with connect(settings.dsn, settings.database_auth, autocommit=True) as connection:
        row = connection.execute(_VERSION).fetchone()
    user, have = row or ("nobody", "nothing")
    # An older program runs on a newer schema, never the other way round.
    if have < (head := migrate.head()):
        raise RuntimeError(f"the schema is at {have or 'nothing'}, this version wants {head}; run the migrations first")
    return f"as {user}, schema {have}"


def _secrets(settings: Settings, world: World) -> str:
    names = (settings.signing_key_secret, settings.admin_token_secret, settings.events_token_secret)
    empty = [name for name in names if not world.secrets.values(name)]
    if empty:
        raise RuntimeError(f"no value in {', '.join(empty)}; the migration task draws them")
    return f"{len(names)} readable"


def _objects(settings: Settings, world: World) -> str:
    next(iter(obstore.list(world.objects, "bundles/", chunk_size=LIST_LIMIT)), None)
    return settings.object_store


def _cluster(settings: Settings, world: World) -> str:
    world.services.counts("dispatcher")
    return settings.cluster
