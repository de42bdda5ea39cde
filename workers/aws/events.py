"""Bringing an event to the dispatcher: one idempotent POST, repeated within a deadline."""

from __future__ import annotations

import json
import logging
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from workers.aws import lines
from workers.backoff import Backoff
from workers.clock import Clock, Draw
from workers.pooltoken import SecretToken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.aws.settings import SourceSettings
    from workers.pooltoken import TokenSource

_LOG = logging.getLogger(__name__)

TRIES = 6
TRY_SECONDS = 8.0
"""The most that one try takes; the dispatcher answers in milliseconds, or is away."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 2.0
RESERVE_SECONDS = LONGEST_WAIT_SECONDS + 1.0
"""What is left of an invocation for the last wait and for its own answer."""
MAX_ANSWER_BYTES = 2**20
# A refused token is read again, and the dispatcher may not have read its own copy yet.
_AGAIN = frozenset({401, 403, 408, 425, 429})
SECRETS = Config(connect_timeout=2, read_timeout=4, retries={"mode": "standard", "total_max_attempts": 2})


class Invoked(Protocol):
    """What Lambda tells of an invocation."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how long it may still take."""
        ...


class Away(Exception):
    """The dispatcher gave no answer in time; the same event may be brought again."""


class Refused(Exception):
    """The dispatcher will never take this event."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the dispatcher said."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body, or nothing if it is no JSON object."""
        try:
            body = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return body if isinstance(body, dict) else {}


class Events:
    """Post events to the dispatcher."""

    def __init__(self, url: str, authority: str, token: TokenSource, clock: Clock, draw: Draw) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port, f"{parts.path}/v1/events"
        self._tls = _trust(authority) if parts.scheme == "https" else None
        self._token = token
        self._clock = clock
        self._draw = draw

    def post(self, event: Mapping[str, Any], seconds: float) -> Answer:
        """Return the dispatcher's answer; raise Away if there is none within `seconds`.

        A repeated event does no harm: ticks and state changes are hints, and a webhook carries its key.
        """
        body = json.dumps(event, separators=(",", ":")).encode()
        deadline = self._clock.monotonic() + seconds
        backoff = Backoff(self._draw, FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
        said = "there was no time to try"
        for _ in range(TRIES):
            left = deadline - self._clock.monotonic()
            if left <= 0:
                break
            try:
                answer = self._try(body, min(TRY_SECONDS, left))
            except (OSError, HTTPException) as error:
                said = f"{type(error).__name__}: {error}"
            else:
                if answer.status < 500 and answer.status not in _AGAIN:
                    return answer
                said = self._unwell(answer)
            _LOG.warning("the event is brought again: %s", said)
            backoff.wait(Event())
        raise Away(f"the dispatcher takes no events now: {said}")

    def _try(self, body: bytes, seconds: float) -> Answer:
        headers = {"Authorization": f"Bearer {self._token.current()}", "Content-Type": "application/json"}
        connection = self._connect(seconds)
        try:
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read(MAX_ANSWER_BYTES))
        finally:
            connection.close()

    def _connect(self, seconds: float) -> HTTPConnection:
        if self._tls is None:
            return HTTPConnection(self._host, self._port, timeout=seconds)
        return HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)

    def _unwell(self, answer: Answer) -> str:
        if answer.status in {401, 403}:
            self._token.refused()
            return f"it answered {answer.status}; check that the events token is the dispatcher's"
        return f"it answered {answer.status}"


def open_events(settings: SourceSettings) -> Events:
    """Return what a source posts to, with the events token from Secrets Manager; its log becomes JSON from here on."""
    lines.configure()
    client = boto3.client("secretsmanager", config=SECRETS)
    name = settings.events_token_secret
    clock = Clock()
    # AWSCURRENT, kept for five minutes.
    token = SecretToken(lambda: client.get_secret_value(SecretId=name)["SecretString"], clock)
    return Events(settings.url, settings.api_ca, token, clock, Draw())


def seconds_left(invoked: Invoked) -> float:
    """Return how long an event may be tried within an invocation."""
    return invoked.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS


def deliver(events: Events, event: Mapping[str, Any], invoked: Invoked) -> None:
    """Bring a hint; raise Away or Refused, so that Lambda repeats the invocation and counts the failure."""
    answer = events.post(event, seconds_left(invoked))
    if answer.status not in {200, 202}:
        raise Refused(f"the dispatcher answered {answer.status}: {str(answer.json().get('message', ''))[:500]}")


def _trust(authority: str) -> ssl.SSLContext:
    """Return what a certificate is checked against: the system's authorities and, if given, one more as PEM text."""
    context = ssl.create_default_context()
    if authority:
        context.load_verify_locations(cadata=authority)
    return context
