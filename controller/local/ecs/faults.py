"""Faults that tests order."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from controller.local.awsjson import AwsError


class Order(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a test asks of `POST /_faults`; absent fields stay as they are."""

    start_failures: int | None = None
    """The next so many tasks stop as TaskFailedToStart, without containers."""
    capacity_failures: int | None = None
    """The next so many placements find no memory."""
    stale_milliseconds: int | None = None
    """DescribeTasks and ListTasks tell what was true so long ago."""
    throttle_every: int | None = None
    """Every so manyth call is throttled; 0 none."""
    interrupt: list[str] = []
    """Ids of tasks that get a spot notice now."""
    kill: list[str] = []
    """Ids of tasks whose processes are killed now, all at once and without a word."""
    exhaust_memory: list[str] = []
    """Ids of tasks that run out of memory now."""


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        self._start_failures = 0
        self._capacity_failures = 0
        self._throttle_every = 0
        self._calls = 0
        self.delay = timedelta()

    def obey(self, order: Order) -> None:
        """Change what the order names."""
        if order.start_failures is not None:
            self._start_failures = order.start_failures
        if order.capacity_failures is not None:
            self._capacity_failures = order.capacity_failures
        if order.throttle_every is not None:
            self._throttle_every, self._calls = order.throttle_every, 0
        if order.stale_milliseconds is not None:
            self.delay = timedelta(milliseconds=order.stale_milliseconds)

    def throttle(self) -> None:
        """Count a call; raise ThrottlingException if it is one of those."""
        self._calls += 1
        if self._throttle_every and self._calls % self._throttle_every == 0:
            raise AwsError("ThrottlingException", "Rate exceeded")

    def start_fails(self) -> bool:
        """Return whether the next task must fail to start."""
        fails = self._start_failures > 0
        self._start_failures -= fails
        return fails

    def placement_fails(self) -> bool:
        """Return whether the next placement must find no memory."""
        fails = self._capacity_failures > 0
        self._capacity_failures -= fails
        return fails
