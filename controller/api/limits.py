"""How much one caller may ask: token buckets, for requests, for tokens that are wrong, for what is recorded of both."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from controller.api.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

CALLERS_LIMIT = 10_000
"""The most callers that are counted; whoever was quiet for longest is forgotten first, with a full bucket."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second over a long time, and so many at once."""

    per_second: float
    burst: int


FAILURES = Rate(1, 50)
"""How many wrong tokens one address may show before it has to wait."""
RECORDED_OF_ONE = Rate(1 / 60, 20)
RECORDED_OF_ALL = Rate(1, 200)
"""How many refusals get a row of the audit log: a stranger must not fill the disk."""


class Buckets:
    """A bucket of tokens for each caller, which fills by itself."""

    def __init__(self, rate: Rate, now: Callable[[], float] = monotonic, callers: int = CALLERS_LIMIT) -> None:
        self._rate = rate
        self._now = now
        self._callers = callers
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, caller: str) -> float:
        """Take a token and return 0, or return in how many seconds there is one."""
        with self._lock:
            level, now = self._level(caller), self._now()
            waits = 0.0 if level >= 1 else (1 - level) / self._rate.per_second
            self._levels[caller] = (level if waits else level - 1, now)
            self._levels.move_to_end(caller)
            if len(self._levels) > self._callers:
                self._levels.popitem(last=False)
        return waits

    def wait(self, caller: str) -> float:
        """Return in how many seconds there is a token, taking none."""
        with self._lock:
            level = self._level(caller)
        return 0.0 if level >= 1 else (1 - level) / self._rate.per_second

    def _level(self, caller: str) -> float:
        level, at = self._levels.get(caller, (float(self._rate.burst), self._now()))
        return min(float(self._rate.burst), level + (self._now() - at) * self._rate.per_second)


class RateLimitedError(RefusedError):
    """The caller asks too much; `retry_after` says in how many seconds to come again."""

    def __init__(self, message: str, retry_after: float) -> None:
        seconds = max(1, math.ceil(retry_after))
        super().__init__(429, "TooManyRequests", f"{message}; try again in {seconds} s")
        self.retry_after = seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """What callers may ask; without rates there are none."""

    requests: Buckets | None = None
    failures: Buckets | None = None
    recorded: Buckets = field(default_factory=lambda: Buckets(RECORDED_OF_ONE))
    recorded_of_all: Buckets = field(default_factory=lambda: Buckets(RECORDED_OF_ALL))

    def ask(self, who: str) -> None:
        """Count a request of somebody who is known; raise RateLimitedError if it is one too many."""
        if self.requests is not None and (wait := self.requests.take(who)):
            raise RateLimitedError(f"{who} asks too often", wait)

    def may_fail(self, address: str) -> None:
        """Raise RateLimitedError if an address has shown too many wrong tokens."""
        if self.failures is not None and (wait := self.failures.wait(address)):
            raise RateLimitedError(f"too many requests without a valid token came from {address}", wait)

    def failed(self, address: str) -> None:
        """Count a wrong token."""
        if self.failures is not None:
            self.failures.take(address)

    def records(self, address: str) -> bool:
        """Tell whether one more refusal of an address is worth a row."""
        return not self.recorded.take(address) and not self.recorded_of_all.take("")
