"""HTTP on one connection that is kept: the client whose own cost disturbs a measurement least."""

from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_SECONDS = 60.0
STALE_SECONDS = 2.0
"""A connection that was not used for so long is opened anew: servers hang up on idle ones after 5 s."""


class HttpError(RuntimeError):
    """An answer that is a refusal."""


class KeepAlive:
    """One connection to one server, for one thread."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
        self._headers = dict(headers or {})
        self._used = 0.0
        self.answer_headers: Mapping[str, str] = {}

    def get(self, path: str) -> bytes:
        """Return the body of an answer; raise HttpError if it is a refusal."""
        return self._ask("GET", path, None, {})

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Any:
        """Return the JSON of an answer; raise HttpError if it is a refusal."""
        wanted = {"Content-Type": "application/json", **(headers or {})}
        return json.loads(self._ask("POST", path, json.dumps(body).encode(), wanted) or b"null")

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        if time.monotonic() - self._used > STALE_SECONDS:
            self._connection.close()
        self._connection.request(method, path, body, {**self._headers, **headers})
        response = self._connection.getresponse()
        answer = response.read()
        self._used = time.monotonic()
        self.answer_headers = response.headers  # type: ignore[assignment]
        if response.status >= 300:
            raise HttpError(f"{method} {path}: {response.status} {answer[:300]!r}")
        return answer
