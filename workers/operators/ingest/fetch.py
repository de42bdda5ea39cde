"""Download one address to disk: bounded, retried, without telling other hosts what was meant for this one."""

from __future__ import annotations

import email.utils
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import urllib3

from workers.task import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MAX_TRIES = 5
MAX_REDIRECTS = 5
MAX_BYTES = 8 * 2**30
MAX_RETRY_AFTER_SECONDS = 60.0
BACKOFF_SECONDS = 0.5
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0

_BLOCK = 1 << 20
_RETRYABLE = {429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_NOT_MODIFIED = 304
# A host that the first one redirects to may know what is asked, not who asks.
_HARMLESS = {"accept", "user-agent", "accept-language", "if-none-match", "if-modified-since"}


@dataclass(frozen=True, slots=True)
class Download:
    """What one address answered; `path` is None if nothing changed since the validators that were sent."""

    url: str
    path: Path | None
    headers: Mapping[str, str]


class Fetcher:
    """Downloads over kept-alive connections; `sleep` waits between tries."""

    def __init__(self, attempt: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._pool = urllib3.PoolManager(
            num_pools=4,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            headers={"User-Agent": "setpoint-ingest", "Accept-Encoding": "gzip, deflate"},
        )
        self._attempt = attempt
        self._sleep = sleep

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def get(self, url: str, headers: Mapping[str, str], path: Path) -> Download:
        """Fetch one address into a file; raise TaskFailed once tries or patience end."""
        for number in range(1, MAX_TRIES + 1):
            last = number == MAX_TRIES
            try:
                response, final = self._open(url, headers)
            except urllib3.exceptions.HTTPError as error:
                if last:
                    raise _unreachable(url, error) from None
                self._pause(number, None)
                continue
            try:
                if response.status in _RETRYABLE and not last:
                    self._pause(number, response.headers)
                    continue
                return self._save(response, final, path)
            except urllib3.exceptions.HTTPError as error:
                if last:
                    raise _unreachable(url, error) from None
                self._pause(number, None)
            finally:
                response.close()
        raise AssertionError("the last try returns or raises")

    def _open(self, url: str, headers: Mapping[str, str]) -> tuple[urllib3.BaseHTTPResponse, str]:
        """Return the answer of the address at the end of the redirects."""
        first = _origin(url)
        for _ in range(MAX_REDIRECTS + 1):
            same = _origin(url) == first
            sent = {k: v for k, v in headers.items() if same or k.lower() in _HARMLESS}
            response = self._pool.request(
                "GET", url, headers={**self._pool.headers, **sent}, redirect=False, preload_content=False
            )
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or target is None:
                return response, url
            response.close()
            url = urljoin(url, target)
        raise TaskFailed("HttpRedirects", f"{first} redirects more than {MAX_REDIRECTS} times")

    def _save(self, response: urllib3.BaseHTTPResponse, url: str, path: Path) -> Download:
        if response.status == _NOT_MODIFIED:
            return Download(url, None, response.headers)
        if response.status != 200:
            raise TaskFailed(f"HttpStatus{response.status}", f"{url} answered {response.status} {response.reason}")
        size = 0
        with path.open("wb") as file:
            for block in response.stream(_BLOCK, decode_content=True):
                size += file.write(block)
                if size > MAX_BYTES:
                    raise TaskFailed("TooMuchData", f"{url} is larger than {MAX_BYTES} bytes; ingest it in parts")
        return Download(url, path, response.headers)

    def _pause(self, number: int, headers: Mapping[str, str] | None) -> None:
        asked = None if headers is None else _retry_after(headers)
        # Full jitter, derived from the attempt, so that a thousand attempts do not return together.
        share = zlib.crc32(f"{self._attempt}/{number}".encode()) / 2**32
        self._sleep(BACKOFF_SECONDS * 2**number * share if asked is None else asked)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks for; a date is compared with the server's own clock."""
    value = headers.get("Retry-After", "")
    if value.isdecimal():
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    try:
        until = email.utils.parsedate_to_datetime(value)
        now = email.utils.parsedate_to_datetime(headers.get("Date", ""))
        return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)
    except (ValueError, TypeError):
        return None


def _unreachable(url: str, error: Exception) -> TaskFailed:
    kind = "HttpTimeout" if isinstance(error, urllib3.exceptions.TimeoutError) else "HttpUnreachable"
    return TaskFailed(kind, f"{url}: {type(error).__name__} after {MAX_TRIES} tries: {error}")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise TaskFailed("BadUrl", f"{url!r} is no http or https address")
    return f"{parts.scheme}://{parts.netloc}"
