"""What the dispatcher reaches beyond Postgres: AWS, objects, time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import obstore.store
from botocore.config import Config

from controller.aws.ecs import EcsServices, Services
from controller.aws.functions import Functions, LambdaFunctions
from controller.aws.secrets import SecretsManager
from controller.aws.sqs import Queues, SqsQueues
from controller.notify.sns import SnsTopics, Topics
from controller.runtime.clock import Clock, DatabaseClock
from controller.runtime.ids import DrawnIds, Ids

if TYPE_CHECKING:
    from controller.api.tokens import Secrets
    from controller.settings import Settings

_ADAPTIVE = Config(retries={"mode": "adaptive", "max_attempts": 3})


@dataclass(frozen=True, slots=True)
class World:
    """What the dispatcher reaches beyond Postgres."""

    queues: Queues
    functions: Functions
    services: Services
    secrets: Secrets
    objects: Any
    clock: Clock
    ids: Ids
    topics: Topics = field(default_factory=SnsTopics)


def world(settings: Settings) -> World:
    """Return the real world: AWS by boto3, objects by obstore, Postgres's clock."""
    # One pool of connections a client, so that sending threads do not wait for each other.
    config = Config(
        max_pool_connections=16,
        retries={"mode": "standard", "max_attempts": 3},
        connect_timeout=3,
        # Whoever asked comes again by itself; a call that hangs must not hold up the look at a lease.
        read_timeout=5,
    )
    sqs = boto3.client("sqs", config=config)
    objects = obstore.store.from_url(settings.object_store, **_mkdir(settings.object_store))
    return World(
        SqsQueues(sqs),
        LambdaFunctions(boto3.client("lambda", config=config), sqs, settings.lambda_failures_queue),
        # ECS allows few calls a second to all who use the account, so this client slows down by itself when it is throttled.
        EcsServices(boto3.client("ecs", config=config.merge(_ADAPTIVE)), settings.cluster),
        SecretsManager(boto3.client("secretsmanager", config=config)),
        objects,
        DatabaseClock(),
        DrawnIds(),
    )


def _mkdir(url: str) -> dict[str, Any]:
    return {"mkdir": True} if url.startswith("file://") else {}
