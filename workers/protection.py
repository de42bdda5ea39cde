"""ECS task scale-in protection: a task that works is not chosen to be stopped.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
"""

from __future__ import annotations

import json
from threading import Lock
from typing import TYPE_CHECKING, Any

import structlog
import urllib3
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from workers.clock import Clock

_log = structlog.get_logger(__name__)

EXPIRES_MINUTES = 15
RENEW_SECONDS = EXPIRES_MINUTES * 60 / 3
AGENT_SECONDS = 2.0
TRIES = 3
DEPLOYMENT_BLOCKED = "DEPLOYMENT_BLOCKED"


class Protection:
    """Protect this task while it works and some minutes longer; without an ECS agent nothing happens."""

    def __init__(self, agent: str | None, idle_seconds: float, clock: Clock) -> None:
        self._url = f"{agent}/task-protection/v1/state" if agent else None
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._http = urllib3.PoolManager(maxsize=1, retries=False, timeout=AGENT_SECONDS)
        self._lock = Lock()
        self._renew_at: float | None = None
        self._worked_at = clock.monotonic()
        self._blocked = False

    def ensure(self) -> bool:
        """Confirm protection before a claim; return False if the task must drain instead.

        An agent that does not answer holds up no work: an attempt evicted for lack of it starts again.
        """
        if self._url is None:
            return True
        with self._lock:
            self._worked_at = self._clock.monotonic()
            if self._renew_at is not None and self._clock.monotonic() < self._renew_at:
                return True
            return any(self._protect() for _ in range(TRIES)) or not self._blocked

    def tend(self, *, busy: bool) -> None:
        """Renew protection while attempts run; drop it when none has run for some minutes."""
        if self._url is None:
            return
        with self._lock:
            now = self._clock.monotonic()
            if busy:
                self._worked_at = now
            if self._renew_at is None:
                return
            if now - self._worked_at >= self._idle_seconds and not busy:
                self._drop()
            elif now >= self._renew_at:
                self._protect()

    def drop(self) -> None:
        """Let the task be stopped."""
        with self._lock:
            if self._renew_at is not None:
                self._drop()

    def _protect(self) -> bool:
        reason = self._put({"ProtectionEnabled": True, "ExpiresInMinutes": EXPIRES_MINUTES})
        self._blocked = reason == DEPLOYMENT_BLOCKED
        if reason is None:
            self._renew_at = self._clock.monotonic() + RENEW_SECONDS
            return True
        _log.warning("protection.failed", reason=reason)
        return False

    def _drop(self) -> None:
        self._renew_at = None
        reason = self._put({"ProtectionEnabled": False})
        if reason is not None:
            # It ends by itself after 15 minutes.
            _log.warning("protection.kept", reason=reason)

    def _put(self, body: dict[str, Any]) -> str | None:
        """Return None if the agent confirmed it, or else why not."""
        headers = {"Content-Type": "application/json"}
        try:
            response = self._http.request("PUT", self._url or "", body=json.dumps(body).encode(), headers=headers)
            answer = json.loads(response.data)
        except (HTTPError, ValueError) as error:
            return str(error)
        if "protection" in answer:
            return None
        problem = answer.get("failure") or answer.get("error") or {}
        return str(problem.get("Reason") or problem.get("Code") or f"HTTP {response.status}")
