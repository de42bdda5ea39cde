"""What the doctor looks at in a dispatcher's world; it changes nothing but one object of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, LiteralString

import boto3
import obstore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from controller.aws.errors import error_code
from controller.doctor import Broken, Check, Suspicious
from controller.runtime.leader import NAME
from controller.store import figures, migrate, notifications, pools
from crds.names import dead_letter_name, service_name

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from controller.settings import Settings
    from controller.store.pools import Pool
    from controller.world import World

MOST_POOLS = 50
"""How many pools' queues and services are looked at."""
MOST_NAMED = 5
MIN_VISIBILITY = timedelta(minutes=1)
"""A message that is visible again sooner is received twice while its worker is starting."""
MAX_SKEW = timedelta(seconds=2)
SEEN_WITHIN = timedelta(minutes=2)
OVERDUE = timedelta(minutes=10)
OLD_NOTIFICATION_SECONDS = 300
PROBE = "bundles/doctor"
_QUICK = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "max_attempts": 1})

_VERSION: LiteralString = "SELECT current_user, coalesce(max(version_num), '') FROM setpoint_migrations.version"

_FORBIDDEN: LiteralString = """
    SELECT relname FROM pg_class
     WHERE relnamespace = 'setpoint'::regnamespace AND relkind IN ('r', 'p') AND NOT has_table_privilege(oid, 'SELECT')
     ORDER BY relname
"""

_LEASE: LiteralString = """
    SELECT holder, term, expires_at > clock_timestamp(), expires_at - clock_timestamp() FROM lease WHERE name = %(name)s
"""

_SEEN: LiteralString = """
    SELECT pool.name, greatest(seen.queue_observed_at, seen.observed_at), coalesce(seen.dead_letters, 0),
           seen.trouble_message, clock_timestamp(), pool.created_at
      FROM resource pool LEFT JOIN pool_observation seen ON seen.pool_uid = pool.uid
     WHERE pool.kind = 'WorkerPool' ORDER BY pool.name
"""


@dataclass(frozen=True, slots=True)
class Examination:
    """Every check of a dispatcher's world."""

    settings: Settings
    world: World
    connect: Callable[[], psycopg.Connection]

    def checks(self) -> list[Check]:
        """Return the checks, what others depend on first."""
        return [
            Check("database", self._database, "start Postgres, and compare SETPOINT_DSN with where it listens"),
            Check("schema", self._schema, "run `setpoint migrate` with the owner's conninfo, then restart dispatchers"),
            Check("rights", self._rights, "run `setpoint migrate` as the tables' owner: it grants what roles need"),
            Check("leader", self._leader, "see the dispatchers' logs for `leader`; restart one that hangs"),
            Check(
                "queues", self._queues, "apply the pools again, or `terraform apply`: both make queues as they must be"
            ),
            Check(
                "services", self._services, "`terraform apply` makes the cluster and its services; see SETPOINT_CLUSTER"
            ),
            Check(
                "functions",
                self._functions,
                "`setpoint deploy` makes the operators' function and lets the dispatcher invoke it",
            ),
            Check("secrets", self._secrets, "`setpoint migrate` draws them on AWS; let the task's role read them"),
            Check("objects", self._objects, "see SETPOINT_OBJECT_STORE, and let the task's role write bundles/*"),
            Check("clocks", self._clocks, "synchronise the clocks of the hosts (chrony, systemd-timesyncd)"),
            Check("informers", self._informers, "restart the leader; its log says what its looks at the pools fail of"),
            Check("invariants", self._invariants, "keep the database as it is and report it with the dispatcher's log"),
            Check("dead-letters", self._dead_letters, "read the letters' runs by `setpoint explain`, then retry them"),
            Check(
                "notifications", self._notifications, "`setpoint get notifiers -o wide` says what each channel answers"
            ),
            Check("version", lambda: f"this dispatcher is {version('setpoint')}", ""),
        ]

    def _database(self) -> str:
        with self.connect() as connection:
            row = connection.execute("SELECT current_user, current_setting('server_version')").fetchone()
        return f"Postgres {row[1]} as {row[0]}" if row else "it answers"

    def _schema(self) -> str:
        with self.connect() as connection:
            row = connection.execute(_VERSION).fetchone()
        have, head = row[1] if row else "", migrate.head()
        # An older program runs on a newer schema, never the other way round.
        if have < head:
            raise Broken(f"the schema is at {have or 'nothing'}, this version wants {head}")
        if have > head:
            raise Suspicious(f"the schema is at {have}, this dispatcher is older and knows {head}")
        return f"at {have}"

    def _rights(self) -> str:
        with self.connect() as connection:
            forbidden = [row[0] for row in connection.execute(_FORBIDDEN)]
        if forbidden:
            raise Broken(f"this login may not read {_listed(forbidden)}")
        return "this login may read every table"

    def _leader(self) -> str:
        with self.connect() as connection:
            row = connection.execute(_LEASE, {"name": NAME}).fetchone()
        if row is None:
            raise Broken("no dispatcher has ever led")
        holder, term, valid, left = row
        if not valid:
            raise Broken(f"nobody leads; the lease of {holder} ended {-left.total_seconds():.0f} s ago")
        return f"{holder} in term {term}, its lease ends in {left.total_seconds():.0f} s"

    def _queues(self) -> str:
        client = boto3.client("sqs", config=_QUICK)
        names = [pool.queue(self.settings.name_prefix) for pool in self._pools() if not pool.invoked]
        wrong = [f"{name}: {fault}" for name in names if (fault := _queue_fault(client, name))]
        if wrong:
            raise Broken("; ".join(wrong[:MOST_NAMED]))
        return f"{len(names)} queues are as they must be"

    def _services(self) -> str:
        names = [service_name(pool.name, pool.namespace) for pool in self._pools() if not pool.invoked]
        missing = [name for name in names if self.world.services.counts(name) is None]
        if missing:
            raise Broken(f"cluster {self.settings.cluster} has no service {_listed(missing)}")
        return f"{len(names)} services in cluster {self.settings.cluster}"

    def _functions(self) -> str:
        names = {pool.function(self.settings.name_prefix) for pool in self._pools() if pool.invoked}
        client = boto3.client("lambda", config=_QUICK)
        for name in sorted(names):
            try:
                # Whether it is there and may be invoked, without running it.
                client.invoke(FunctionName=name, InvocationType="DryRun")
            except ClientError as error:
                raise Broken(f"function {name}: {error_code(error)}") from error
        return f"{len(names)} functions"

    def _secrets(self) -> str:
        settings = self.settings
        names = (settings.signing_key_secret, settings.admin_token_secret, settings.events_token_secret)
        if empty := [name for name in names if not self.world.secrets.values(name)]:
            raise Broken(f"no value in {_listed(empty)}")
        return f"{_listed(list(names))} are readable"

    def _objects(self) -> str:
        content = _wall().isoformat().encode()
        obstore.put(self.world.objects, PROBE, content)
        if not bytes(obstore.get(self.world.objects, PROBE).bytes()):
            raise Broken(f"what was written to {PROBE} reads as nothing")
        return f"{self.settings.object_store} takes and gives"

    def _clocks(self) -> str:
        with self.connect() as connection:
            skew = abs(_wall() - self.world.clock.now(connection))
        if skew > MAX_SKEW:
            raise Suspicious(f"this dispatcher and Postgres differ by {skew.total_seconds():.1f} s")
        aws = _aws_skew()
        if aws is not None and aws > MAX_SKEW * 2:
            raise Suspicious(f"this dispatcher and AWS differ by {aws.total_seconds():.0f} s")
        return f"Postgres is {skew.total_seconds():.1f} s away" + ("" if aws is None else ", AWS agrees")

    def _informers(self) -> str:
        with self.connect() as connection:
            rows = connection.execute(_SEEN).fetchall()
        silent = [row[0] for row in rows if row[4] - (row[1] or row[5]) > SEEN_WITHIN]
        if silent:
            raise Broken(f"nobody has looked at pool {_listed(silent)} for {SEEN_WITHIN.seconds} s")
        troubled = [f"{row[0]}: {row[3]}" for row in rows if row[3]]
        if troubled:
            raise Suspicious("; ".join(troubled[:MOST_NAMED]))
        return f"{len(rows)} pools are looked at"

    def _invariants(self) -> str:
        with self.connect() as connection:
            found = figures.violations(connection, self.world.clock.now(connection), OVERDUE)
        if found.total:
            raise Broken(
                f"{found.of_ended_runs} live attempts of ended runs, {found.of_idle_tasks} of idle tasks,"
                f" {found.overdue} past every deadline"
            )
        return "none is violated"

    def _dead_letters(self) -> str:
        with self.connect() as connection:
            letters = [f"{row[0]}: {row[2]}" for row in connection.execute(_SEEN) if row[2]]
        if letters:
            raise Suspicious(f"messages that no worker took: {_listed(letters)}")
        return "none"

    def _notifications(self) -> str:
        with self.connect() as connection:
            pending, oldest = notifications.backlog(connection, self.world.clock.now(connection))
        if oldest > OLD_NOTIFICATION_SECONDS:
            raise Suspicious(f"{pending} wait to be sent, the oldest for {oldest:.0f} s")
        return f"{pending} wait to be sent"

    def _pools(self) -> list[Pool]:
        with self.connect() as connection:
            return list(pools.read(connection).values())[:MOST_POOLS]


def _queue_fault(client: Any, name: str) -> str | None:
    """Return what is wrong with a queue and its dead-letter queue, or None."""
    try:
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
        client.get_queue_url(QueueName=dead_letter_name(name))
        given = client.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"])
    except ClientError as error:
        return str(error_code(error))
    attributes = given.get("Attributes", {})
    if int(attributes.get("VisibilityTimeout", "0")) < MIN_VISIBILITY.total_seconds():
        return f"its visibility timeout is {attributes.get('VisibilityTimeout')} s, below {MIN_VISIBILITY.seconds} s"
    target = json.loads(attributes.get("RedrivePolicy") or "{}").get("deadLetterTargetArn", "")
    if not target.endswith(f":{dead_letter_name(name)}"):
        return f"its redrive policy does not lead to {dead_letter_name(name)}"
    return None


def _aws_skew() -> timedelta | None:
    """Return how far AWS's clock is away; None if it cannot be asked, which other checks tell."""
    metadata: Any
    try:
        metadata = boto3.client("sqs", config=_QUICK).list_queues(MaxResults=1)["ResponseMetadata"]
    except ClientError as error:
        # A refusal carries the time as well, and this role need not list queues.
        metadata = error.response["ResponseMetadata"]
    except BotoCoreError:
        return None
    date = metadata.get("HTTPHeaders", {}).get("date")
    return abs(_wall() - parsedate_to_datetime(date)) if date else None


def _wall() -> datetime:
    """Return the time by this host, which is what is examined."""
    return datetime.now(UTC)  # noqa: TID251 - no other clock says how far this one is off


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
