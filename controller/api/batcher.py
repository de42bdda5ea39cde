"""Requests that arrive together share a transaction, without a timer: what arrives during a commit forms the next group."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = structlog.get_logger()
Asked = TypeVar("Asked")
Answered = TypeVar("Answered")
GROUP_LIMIT = 64
"""The most requests that share a transaction."""
BACKLOG_LIMIT = 10_000


class Overloaded(Exception):
    """More requests wait than BACKLOG_LIMIT; the caller shall come again later (HTTP 503)."""


class Batcher(Generic[Asked, Answered]):
    """One thread that answers groups of requests; an answer leaves only after its group's COMMIT."""

    def __init__(self, name: str, work: Callable[[Sequence[Asked]], Sequence[Answered]]) -> None:
        self._work = work
        self._waiting: deque[tuple[Asked, asyncio.Future[Answered], asyncio.AbstractEventLoop]] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"batch-{name}", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Answer what waits, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)

    async def submit(self, asked: Asked) -> Answered:
        """Return the answer to one request."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answered] = loop.create_future()
        with self._changed:
            if len(self._waiting) >= BACKLOG_LIMIT or self._stopping:
                raise Overloaded
            self._waiting.append((asked, future, loop))
            self._changed.notify()
        return await future

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_LIMIT))]
            if not group:
                return
            self._answer(group)

    def _answer(self, group: Sequence[tuple[Asked, asyncio.Future[Answered], asyncio.AbstractEventLoop]]) -> None:
        try:
            answers = self._work([asked for asked, _, _ in group])
        except Exception as error:  # noqa: BLE001 - the caller gets it
            if len(group) > 1:
                # One bad request must not fail its neighbours.
                for member in group:
                    self._answer([member])
                return
            _, future, loop = group[0]
            loop.call_soon_threadsafe(_fail, future, error)
            return
        for (_, future, loop), answer in zip(group, answers, strict=True):
            loop.call_soon_threadsafe(_resolve, future, answer)


def _resolve(future: asyncio.Future[Answered], answer: Answered) -> None:
    # The client may have gone away meanwhile.
    if not future.done():
        future.set_result(answer)


def _fail(future: asyncio.Future[Answered], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
