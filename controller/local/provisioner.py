"""Play Terraform: a queue and a service for each applied WorkerPool, again whenever a local server came back empty."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import structlog
from botocore.exceptions import BotoCoreError, ClientError

from controller.local.layout import POOL_TOKENS, WEBHOOK_SECRETS, Layout, LocalSecrets, write_private
from controller.runtime.background import Background
from controller.store import pools, resources
from crds.names import dead_letter_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_sqs import SQSClient

    from controller.store.pools import Pool

log = structlog.get_logger()
LOOK_EVERY = 0.5
LOOK_ANYWAY = 15.0
REGION = "us-east-1"
ACCOUNT = "000000000000"
# Below the supervisor's STOP_WITHIN, so that workers report what they evict before `up` ends ECS and them.
STOP_TIMEOUT = 15
# The queue's default; workers shorten it for what they receive.
VISIBILITY_SECONDS = 300
MAX_RECEIVES = 3
RETENTION_SECONDS = 14 * 86_400
LAMBDA_FAILURES = "setpoint-lambda-failures"
"""The standard queue that takes the invocations that Lambda gives up."""


class Provisioner(Background):
    """One thread that compares the applied pools with what the local servers have.

    `servers` returns something that differs after a local server was started anew.
    """

    def __init__(
        self,
        conninfo: str,
        layout: Layout,
        secrets: LocalSecrets,
        sqs: SQSClient,
        ecs: ECSClient,
        cluster: str,
        worker_environment: Mapping[str, str],
        servers: Callable[[], object],
    ) -> None:
        super().__init__("provisioner")
        self._conninfo = conninfo
        self._layout = layout
        self._secrets = secrets
        self._sqs = sqs
        self._ecs = ecs
        self._cluster = cluster
        self._environment = worker_environment
        self._servers = servers

    def run(self) -> None:
        """Compare and act, again and again."""
        said = ""
        while not self.stopping.wait(LOOK_EVERY):
            try:
                with psycopg.connect(
                    self._conninfo, options="-c search_path=setpoint", connect_timeout=5, autocommit=True
                ) as connection:
                    self._watch(connection)
            except (psycopg.Error, ClientError, BotoCoreError) as error:
                if str(error) != said:
                    log.warning("cannot provision; trying again", error=str(error).strip())
                said = str(error)

    def _watch(self, connection: psycopg.Connection) -> None:
        """Provision whenever a pool or a local server has changed, and every LOOK_ANYWAY."""
        seen: object = None
        since = 0.0
        while not self.stopping.wait(LOOK_EVERY):
            found = list(pools.read(connection).values())
            for prefix in resources.webhook_prefixes(connection):
                self._secrets.get(f"{WEBHOOK_SECRETS}{prefix}")
            now = (found, self._servers())
            if now != seen or time.monotonic() - since > LOOK_ANYWAY:
                self.provision(found)
                seen, since = now, time.monotonic()

    def provision(self, found: list[Pool]) -> None:
        """Make queues and services match the pools; a lambda pool has neither."""
        for pool in found:
            self._secrets.get(f"{POOL_TOKENS}{pool.name}")
        wanted = [pool for pool in found if not pool.invoked]
        failures = {"name": LAMBDA_FAILURES, "attributes": {"MessageRetentionPeriod": str(RETENTION_SECONDS)}}
        queues = [failures, *(queue for pool in wanted for queue in queue_declarations(pool))]
        self._declare(self._layout.queues, queues)
        self._declare(
            self._layout.services,
            {
                "cluster": self._cluster,
                "taskDefinitions": [self._definition(pool) for pool in wanted],
                "services": [
                    {
                        "serviceName": pool.service,
                        "taskDefinition": pool.service,
                        "desiredCount": pool.spec.min_tasks,
                    }
                    for pool in wanted
                ],
            },
        )
        have = {url.rpartition("/")[2] for url in self._sqs.list_queues().get("QueueUrls", [])}
        for queue in queues:
            if queue["name"] not in have:
                self._sqs.create_queue(QueueName=queue["name"], Attributes=queue["attributes"])
        for pool in wanted:
            self._service(pool)

    def _service(self, pool: Pool) -> None:
        name = pool.service
        answer = self._ecs.describe_services(cluster=self._cluster, services=[name])
        service = next((s for s in answer["services"] if s.get("status") == "ACTIVE"), None)
        wanted = self._definition(pool)
        if service is None:
            definition = self._ecs.register_task_definition(**wanted)["taskDefinition"]["taskDefinitionArn"]
            self._ecs.create_service(
                cluster=self._cluster,
                serviceName=name,
                taskDefinition=definition,
                desiredCount=pool.spec.min_tasks,
            )
            return
        current = self._ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
        have = current["containerDefinitions"][0]
        want = wanted["containerDefinitions"][0]
        if (have.get("command"), _pairs(have)) != (want["command"], _pairs(want)):
            definition = self._ecs.register_task_definition(**wanted)["taskDefinition"]["taskDefinitionArn"]
            self._ecs.update_service(cluster=self._cluster, service=name, taskDefinition=definition)

    def _definition(self, pool: Pool) -> dict[str, Any]:
        environment = {
            **self._environment,
            "SETPOINT_NAMESPACE": pool.namespace,
            "SETPOINT_POOL": pool.name,
            "SETPOINT_POOL_TOKEN_SECRET": f"{POOL_TOKENS}{pool.name}",
            "SETPOINT_QUEUE_URL": f"{self._environment['AWS_ENDPOINT_URL_SQS']}/{ACCOUNT}/{pool.queue()}",
            "SETPOINT_SLOTS": str(pool.spec.slots),
            "SETPOINT_GRACE_SECONDS": str(STOP_TIMEOUT - 5),
        }
        return {
            "family": pool.service,
            "containerDefinitions": [
                {
                    "name": "worker",
                    "image": "local",
                    "command": [sys.executable, "-m", "workers"],
                    "environment": [{"name": n, "value": v} for n, v in sorted(environment.items())],
                    "stopTimeout": STOP_TIMEOUT,
                }
            ],
        }

    def _declare(self, path: Any, content: object) -> None:
        encoded = msgspec.json.format(msgspec.json.encode(content))
        if not path.exists() or path.read_bytes() != encoded:
            write_private(path, encoded)


def queue_declarations(pool: Pool) -> list[dict[str, Any]]:
    """Return a pool's dead-letter queue and its queue, as Terraform makes them."""
    dead = dead_letter_name(pool.queue())
    fifo = {
        "FifoQueue": "true",
        "DeduplicationScope": "messageGroup",
        "FifoThroughputLimit": "perMessageGroupId",
        "MessageRetentionPeriod": str(RETENTION_SECONDS),
    }
    redrive = {
        "deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{dead}",
        "maxReceiveCount": MAX_RECEIVES,
    }
    return [
        {"name": dead, "attributes": fifo},
        {
            "name": pool.queue(),
            "attributes": {
                **fifo,
                "VisibilityTimeout": str(VISIBILITY_SECONDS),
                "RedrivePolicy": msgspec.json.encode(redrive).decode(),
            },
        },
    ]


def _pairs(container: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(e["name"], e["value"]) for e in container.get("environment", [])}
