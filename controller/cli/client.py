"""The API as the commands use it: the standard library's HTTP client, because it starts fast."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from controller.cli.errors import CliError, Exit, UnreachableError

if TYPE_CHECKING:
    from controller.cli.target import Target

TIMEOUT_SECONDS = 30.0
# A stream sends an empty line every 15 s, so silence for longer means that the other side is gone.
STREAM_TIMEOUT_SECONDS = 60.0
PAGE = 500
MAX_PAGES = 200
_READ_SIZE = 64 * 1024
_PASSWORD = re.compile(r"//[^/@]*@")

Query = Mapping[str, str | int | None]


class Client:
    """Talk to one dispatcher in one namespace."""

    def __init__(self, target: Target, namespace: str = "default") -> None:
        self.target = target
        self.namespace = namespace
        self._now: datetime | None = None

    def now(self) -> datetime:
        """Return the server's time at the last answer: no host clock is compared with another's."""
        if self._now is None:
            self.request("GET", self.path("workerpools"), {"limit": 1})
        return self._now or datetime.fromtimestamp(0, UTC)

    def path(self, *parts: str) -> str:
        """Return a path below the namespace."""
        joined = "/".join(_quoted(part) for part in parts)
        return f"/apis/setpoint.dev/v1/namespaces/{_quoted(self.namespace)}/{joined}"

    def get(self, *parts: str, **query: str | int | None) -> Any:
        """Return the object at a path below the namespace."""
        return self.request("GET", self.path(*parts), query)

    def post(self, *parts: str, body: Any = None, **query: str | int | None) -> Any:
        """Ask for something to be done."""
        return self.request("POST", self.path(*parts), query, body)

    def items(self, plural: str, **query: str | int | None) -> Iterator[dict[str, Any]]:
        """Yield the objects of a list, all its pages."""
        token: str | None = None
        for _ in range(MAX_PAGES):
            page = self.get(plural, **{"limit": PAGE, **query, "continue": token})
            yield from page["items"]
            token = page["metadata"].get("continue")
            if token is None:
                return

    def request(self, method: str, path: str, query: Query | None = None, body: Any = None) -> Any:
        """Return the JSON of an answer; raise CliError if it is a refusal."""
        data = None if body is None else json.dumps(body).encode()
        response = self._send(method, path, query, data, "application/json", TIMEOUT_SECONDS)
        try:
            answer = json.loads(self._read(response))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or "kind" not in answer:
            raise CliError(f"what answers at {self._address} (from {self.target.origin}) is no dispatcher; correct it")
        return answer

    def bundle(self, digest: str) -> bytes | None:
        """Return a stored bundle, or None."""
        try:
            return self._read(self._send("GET", f"/v1/bundles/{digest}", None, None, "", TIMEOUT_SECONDS))
        except NotFoundError:
            return None

    def has_bundle(self, digest: str) -> bool:
        """Tell whether a bundle is stored."""
        try:
            self._send("HEAD", f"/v1/bundles/{digest}", None, None, "", TIMEOUT_SECONDS).read()
        except NotFoundError:
            return False
        return True

    def put_bundle(self, digest: str, data: bytes) -> None:
        """Store a bundle."""
        self._send("PUT", f"/v1/bundles/{digest}", None, data, "application/octet-stream", TIMEOUT_SECONDS).read()

    def stream(self, path: str, query: Query | None = None) -> Iterator[bytes]:
        """Yield the pieces of an answer as they come."""
        response = self._send("GET", path, query, None, "", STREAM_TIMEOUT_SECONDS)
        try:
            while piece := response.read1(_READ_SIZE):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def lines(self, path: str, query: Query | None = None) -> Iterator[dict[str, Any]]:
        """Yield the objects of a stream of JSON lines."""
        rest = b""
        for piece in self.stream(path, query):
            *whole, rest = (rest + piece).split(b"\n")
            yield from (json.loads(line) for line in whole if line.strip())

    def _send(
        self, method: str, path: str, query: Query | None, data: bytes | None, media_type: str, timeout: float
    ) -> http.client.HTTPResponse:
        given = {key: value for key, value in (query or {}).items() if value is not None}
        address = f"{path}?{urlencode(given, errors='surrogateescape')}" if given else path
        headers = {"Content-Type": media_type} if data is not None else {}
        if token := self.target.token:
            # The library's own error would repeat the token.
            if not token.isascii() or not token.isprintable():
                raise CliError("the token holds a character that no token has; set SETPOINT_TOKEN anew", Exit.USAGE)
            headers["Authorization"] = f"Bearer {token}"
        try:
            connection, prefix = self._connect(timeout)
            connection.request(method, prefix + address, data, headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._unreachable(error) from error
        if date := response.headers.get("Date"):
            # A stranger's date is no reason to fail; that it is no dispatcher shows below.
            with suppress(ValueError):
                self._now = parsedate_to_datetime(date)
        if response.status >= 400:
            raise _refusal(response.status, self._read(response))
        return response

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _connect(self, timeout: float) -> tuple[http.client.HTTPConnection, str]:
        parts = urlsplit(self.target.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CliError(f"{self._address!r} (from {self.target.origin}) is no http address; correct it")
        prefix = parts.path.rstrip("/")
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout), prefix
        name = self.target.server_name or parts.hostname
        return _NamedConnection(parts.hostname, parts.port, name, self._trust(), timeout), prefix

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.target.authority:
            context.load_verify_locations(cadata=self.target.authority)
        return context

    def _unreachable(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            f"no dispatcher answers at {self._address} (from {self.target.origin}): {error}; "
            "start one with `setpoint up`, or set SETPOINT_URL to another"
        )

    @property
    def _address(self) -> str:
        """The address without the password that it may hold."""
        return _PASSWORD.sub("//", self.target.url)


class _NamedConnection(http.client.HTTPSConnection):
    """A connection to a server whose certificate may name it otherwise than its address does."""

    def __init__(self, host: str, port: int | None, name: str, trust: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout, context=trust)
        self._name = name
        self._trust = trust

    def connect(self) -> None:
        """Connect, and check the certificate by its own name."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._trust.wrap_socket(self.sock, server_hostname=self._name)


def _quoted(part: str) -> str:
    # What the shell gave may be no UTF-8.
    return quote(part, safe="", errors="surrogateescape")


class NotFoundError(CliError):
    """The object does not exist."""


class RefusedError(CliError):
    """The server refused; `details` are its problems, in JSON."""

    def __init__(self, status: int, message: str, details: list[dict[str, Any]]) -> None:
        super().__init__(message, problems=tuple(_line(problem) for problem in details))
        self.status = status
        self.details = details


def _refusal(status: int, body: bytes) -> CliError:
    try:
        answer = json.loads(body or b"{}")
        message = str(answer.get("message") or f"HTTP {status}")
        details = answer.get("details", {}).get("problems", [])
    except (ValueError, AttributeError):
        message, details = f"HTTP {status}: {body[:200].decode(errors='replace')}", []
    if status == 404:
        return NotFoundError(message)
    if status in {502, 503, 504}:
        return UnreachableError(message)
    return RefusedError(status, message, details)


def _line(problem: dict[str, Any]) -> str:
    who = "/".join(part for part in (str(problem.get("kind", "")).lower(), problem.get("name", "")) if part)
    where = ": ".join(part for part in (who, problem.get("field", "")) if part)
    hint = f'; did you mean "{problem["suggestion"]}"?' if problem.get("suggestion") else ""
    return f"{where}: {problem['message']}{hint}" if where else f"{problem['message']}{hint}"
