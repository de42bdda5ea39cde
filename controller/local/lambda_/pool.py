"""The warm children of each function, and the asynchronous invocations that wait for one."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.local.awsjson import AwsError
from controller.local.lambda_.destination import GivenUp, tell
from controller.local.lambda_.function import failure
from controller.local.lambda_.instance import Call, Instance

if TYPE_CHECKING:
    from pathlib import Path

    from controller.local.lambda_.function import Function, Outcome
    from controller.local.lifeline import Guard

_LOG = logging.getLogger(__name__)
_EVENTS_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a function may use of this machine."""

    instances: int = 10
    retry_seconds: float = 60.0
    """The wait before the first retry of an asynchronous invocation; the second waits twice as long."""


class Pool:
    """The children of one function: as many as there are calls at once, kept warm."""

    def __init__(self, function: Function, guard: Guard, logs_dir: Path, limits: Limits) -> None:
        self.function = function
        self._guard = guard
        self._logs_dir = logs_dir
        self._limits = limits
        self._room = asyncio.Semaphore(limits.instances)
        self._idle: list[Instance] = []
        self._all: set[Instance] = set()
        self._events: set[asyncio.Task[None]] = set()
        self._started = 0

    async def invoke(self, call: Call) -> Outcome:
        """Run a call now, or raise TooManyRequestsException when all children are busy."""
        if self._room.locked():
            raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429)
        return await self._invoke(call)

    def invoke_later(self, call: Call) -> None:
        """Run a call in the background, up to three times until it succeeds."""
        if len(self._events) >= _EVENTS_LIMIT:
            raise AwsError("TooManyRequestsException", "Too many asynchronous invocations wait.", 429)
        event = asyncio.create_task(self._try(call))
        self._events.add(event)
        event.add_done_callback(self._events.discard)

    async def close(self) -> None:
        """Kill the children and forget what waits."""
        for event in self._events:
            event.cancel()
        await asyncio.gather(*(instance.stop() for instance in self._all))

    async def _try(self, call: Call) -> None:
        """Run an asynchronous call, again if it fails, until it is too old or was tried too often."""
        expires = asyncio.get_running_loop().time() + self.function.event_seconds
        tries = self.function.event_retries + 1
        for number in range(1, tries + 1):
            try:
                async with asyncio.timeout_at(expires):
                    await self._room.acquire()
            except TimeoutError:
                await self._give_up(call, GivenUp("EventAgeExceeded", number - 1))
                return
            try:
                outcome = await self._run(call)
            finally:
                self._room.release()
            if not outcome.failed:
                return
            _LOG.warning("try %d of %s, request %s, failed", number, self.function.name, call.id)
            if number == tries:
                await self._give_up(call, GivenUp("RetriesExhausted", number, outcome))
                return
            await asyncio.sleep(self._limits.retry_seconds * number)

    async def _give_up(self, call: Call, why: GivenUp) -> None:
        if self.function.on_failure is not None:
            await tell(self.function, call, why)

    async def _invoke(self, call: Call) -> Outcome:
        async with self._room:
            return await self._run(call)

    async def _run(self, call: Call) -> Outcome:
        try:
            instance = await self._take()
        except OSError as error:
            return failure("Runtime.InvalidEntrypoint", f"RequestId: {call.id} Error: {error}")
        try:
            return await instance.invoke(call)
        finally:
            self._put_back(instance)

    async def _take(self) -> Instance:
        while self._idle:
            if (instance := self._idle.pop()).alive:
                return instance
            self._all.discard(instance)
        self._started += 1
        log = self._logs_dir / f"lambda-{self.function.name}-{self._started}.log"
        instance = await Instance.start(self.function, self._guard, log)
        self._all.add(instance)
        return instance

    def _put_back(self, instance: Instance) -> None:
        if instance.alive:
            self._idle.append(instance)
        else:
            self._all.discard(instance)
