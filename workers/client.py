"""The dispatcher over HTTP: claims, heartbeats, reports."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, TypeVar

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from crds.protocol import ClaimAnswer, HeartbeatAnswer, ReportAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crds.protocol import ClaimRequest, HeartbeatRequest, ReportRequest
    from workers.pooltoken import TokenSource

CONNECT_SECONDS = 2.0
CLAIM_SECONDS = 10.0
REPORT_SECONDS = 10.0
# A heartbeat that takes longer would come too late for the lease of 10 s.
HEARTBEAT_TIMEOUT_SECONDS = 3.0
# One connection each for the receiver, the reporter and the heartbeat, and one to spare.
CONNECTIONS = 4
MAX_MESSAGE_CHARS = 500

_Answer = TypeVar("_Answer", ClaimAnswer, HeartbeatAnswer, ReportAnswer)


class Unreachable(Exception):
    """No answer, or one that asks to come again: repeat the same request later."""


class Refused(Exception):
    """The dispatcher will never take this request; repeating it is pointless."""


class Dispatcher:
    """The dispatcher's worker protocol, one request a call; the caller repeats."""

    def __init__(self, url: str, token: TokenSource, authority: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, retries=False, ssl_context=_trust(authority))
        self.reachable = Event()
        self._awaited: set[str] = set()

    @contextmanager
    def awaiting(self, request: str) -> Iterator[None]:
        """Name a claim or report in the heartbeats until it is answered: what it took is ours, and we cannot know it yet."""
        self._awaited.add(request)
        try:
            yield
        finally:
            self._awaited.discard(request)

    def awaited(self) -> list[str]:
        """Return the requests whose answer is awaited."""
        return list(self._awaited)

    def claim(self, request: ClaimRequest) -> ClaimAnswer:
        """Ask for attempts; the same `request` gets the same answer."""
        return self._post("/v1/claims", request, ClaimAnswer, CLAIM_SECONDS)

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatAnswer:
        """Say which attempts run here."""
        return self._post("/v1/heartbeats", request, HeartbeatAnswer, HEARTBEAT_TIMEOUT_SECONDS)

    def report(self, request: ReportRequest) -> ReportAnswer:
        """Say how attempts ended; repeating returns the first answer."""
        return self._post("/v1/reports", request, ReportAnswer, REPORT_SECONDS)

    def _post(self, path: str, body: msgspec.Struct, answer: type[_Answer], seconds: float) -> _Answer:
        try:
            result = self._exchange(path, msgspec.json.encode(body), answer, seconds)
        except Unreachable:
            self.reachable.clear()
            raise
        self.reachable.set()
        return result

    def _exchange(self, path: str, body: bytes, answer: type[_Answer], seconds: float) -> _Answer:
        try:
            token = self._token.current()
        except Exception as error:
            raise Unreachable(f"the pool token cannot be read: {error}") from error
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds)
        try:
            response = self._pool.request("POST", self._url + path, body=body, headers=headers, timeout=timeout)
        except HTTPError as error:
            raise Unreachable(f"{self._url}{path}: {error}") from error
        if response.status == 200:
            return _decode(response.data, answer, path)
        raise self._failure(path, response.status, response.data)

    def _failure(self, path: str, status: int, body: bytes) -> Exception:
        text = f"{path} answered {status}: {body[:MAX_MESSAGE_CHARS].decode(errors='replace')}"
        if status in {401, 403}:
            self._token.refused()
            return Unreachable(f"{text}; check the pool token")
        if status >= 500 or status in {404, 408, 425, 429}:
            return Unreachable(text)
        return Refused(text)


def _trust(authority: str | None) -> ssl.SSLContext | None:
    """Return what a certificate is checked against: the system's authorities and, if given, one more as PEM text."""
    if not authority:
        return None
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=authority)
    return context


def _decode(body: bytes, answer: type[_Answer], path: str) -> _Answer:
    try:
        return msgspec.json.decode(body, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreachable(f"{path} answered what is no {answer.__name__}: {error}") from error
