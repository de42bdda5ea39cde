"""The endpoint by which people have the system examined."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING

from controller.api.auth import Role
from controller.api.endpoint import Endpoint, answer
from controller.api.errors import RefusedError
from controller.doctor import examine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from controller.api.endpoint import ApiDeps, Call
    from controller.doctor import Check

PATH = "/v1/doctor"


class Doctor:
    """Examine at the request of people, one at a time, so that nobody can have AWS asked without end."""

    def __init__(self, checks: Sequence[Check] = ()) -> None:
        self._checks = checks
        self._busy = Lock()

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoint."""
        return [Endpoint("GET", PATH, Role.VIEWER, self._examine, "Examine the system", codes=(200, 429))]

    def _examine(self, _deps: ApiDeps, _call: Call) -> Response:
        if not self._busy.acquire(blocking=False):
            raise RefusedError(429, "TooManyRequests", "the system is being examined; ask again in some seconds")
        try:
            found = examine(self._checks)
        finally:
            self._busy.release()
        now = datetime.now(UTC)  # noqa: TID251 - also without a database
        return answer({"kind": "Doctor", "checks": found, "version": version("setpoint"), "time": now})
