"""The name under which a dispatcher holds its lease: it leads to the process, or to the ECS task, that leads."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

METADATA = "ECS_CONTAINER_METADATA_URI_V4"
# The last part of the address is the task's id, then a number for the container.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html
_TASK = re.compile(r"/v4/([0-9a-f]{32})(?:-[0-9]+)?/?$")
_HOLDER = re.compile(r"(?:(?P<task>[0-9a-f]{32})|(?P<host>[^/]+))/(?P<pid>[0-9]+)")


def holder_name(environment: Mapping[str, str], pid: int) -> str:
    """Return `<ECS task id>/<pid>` in a container of ECS, else `<host>/<pid>`."""
    task = _TASK.search(environment.get(METADATA, ""))
    return f"{task[1] if task else socket.gethostname()}/{pid}"


def task_of(holder: str) -> str | None:
    """Return the id of the ECS task that a holder names, None if it names none."""
    found = _HOLDER.fullmatch(holder)
    return found["task"] if found else None


def process_of(holder: str, host: str) -> int | None:
    """Return the id of the process that a holder names on this host, None if it runs elsewhere."""
    found = _HOLDER.fullmatch(holder)
    return int(found["pid"]) if found and found["host"] == host else None
