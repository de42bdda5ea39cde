"""Who this worker process is."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import urllib3

from crds.names import WorkerId

if TYPE_CHECKING:
    from workers.clock import Draw

METADATA_SECONDS = 2.0
METADATA_TRIES = 3


@dataclass(frozen=True, slots=True)
class Identity:
    """The worker's name, drawn once a process, and its pool and ECS task."""

    worker: WorkerId
    pool: str
    namespace: str
    ecs_task: str | None


def identify(pool: str, namespace: str, draw: Draw) -> Identity:
    """Return who this process is; outside ECS there is no task."""
    return Identity(WorkerId(f"{pool}-{draw.token()}"), pool, namespace, _ecs_task())


def _ecs_task() -> str | None:
    """Return the ARN of this ECS task.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
    """
    base = os.environ.get("ECS_CONTAINER_METADATA_URI_V4")
    if not base:
        return None
    with urllib3.PoolManager(retries=urllib3.Retry(METADATA_TRIES, backoff_factor=0.2)) as http:
        response = http.request("GET", f"{base}/task", timeout=METADATA_SECONDS)
        return str(json.loads(response.data)["TaskARN"])
