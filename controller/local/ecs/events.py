"""Tell a URL of every change of a task's status, as an EventBridge rule would."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from controller.local.ecs.render import iso, task_shape

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from controller.local.awsjson import JsonObject
    from controller.local.ecs.model import Task

_LOG = logging.getLogger(__name__)
_QUEUE_LIMIT = 1_000
_POST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where events go, and the file that holds the bearer token."""

    url: str
    token_file: Path | None = None


class Events:
    """Posts events in order, one at a time; it loses them rather than hold anything up."""

    def __init__(self, target: Target, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._target = target
        self._now = now
        self._new_id = new_id
        self._queue: asyncio.Queue[JsonObject] = asyncio.Queue(_QUEUE_LIMIT)

    def observe(self, task: Task) -> None:
        """Queue the event of a change, or drop it when too many wait."""
        try:
            self._queue.put_nowait(self._event(task))
        except asyncio.QueueFull:
            _LOG.warning("dropped the event of %s: %d wait for %s", task.id, _QUEUE_LIMIT, self._target.url)

    async def run(self) -> None:
        """Post what is queued, for ever."""
        async with httpx.AsyncClient(timeout=_POST_SECONDS, trust_env=False) as client:
            while True:
                event = await self._queue.get()
                try:
                    answer = await client.post(self._target.url, json=event, headers=self._headers())
                    answer.raise_for_status()
                except (httpx.HTTPError, OSError) as error:
                    _LOG.warning("lost an event on its way to %s: %s", self._target.url, error)

    def _headers(self) -> dict[str, str]:
        # Read each time: the token may be written, or changed, after our start.
        if self._target.token_file is None:
            return {}
        return {"authorization": f"Bearer {self._target.token_file.read_text().strip()}"}

    def _event(self, task: Task) -> JsonObject:
        return {
            "version": "0",
            "id": self._new_id(),
            "detail-type": "ECS Task State Change",
            "source": "aws.ecs",
            "account": "000000000000",
            "time": iso(self._now()),
            "region": "us-east-1",
            "resources": [task.arn],
            "detail": {**task_shape(task, moment=iso), "updatedAt": iso(self._now())},
        }
