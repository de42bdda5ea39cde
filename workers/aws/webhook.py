"""Signed webhooks through API Gateway (HTTP API, payload 2.0): checked here, made durable by the dispatcher.

The payload: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from workers.aws.events import Away, open_events, seconds_left
from workers.aws.settings import read
from workers.aws.signature import HEADER, Signature, SignatureError, check_time, matches, parse, replay_key
from workers.aws.signers import open_signers
from workers.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.aws.events import Answer, Events, Invoked
    from workers.aws.signers import Signers

_LOG = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 2**10
RETRY_AFTER_SECONDS = 5
MAX_MESSAGE_CHARS = 1_000
# As crds.dag has it, whose packages this function does without.
_PATH = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(/[A-Za-z0-9._~-]+)*")
_MAX_PATH = 200
_ROUTE = "/hooks/"
# What a sender can mend; whatever else the dispatcher answers is ours.
_SENDERS = frozenset({400, 404, 413, 422})


class _Refusal(Exception):
    """The answer to a request that is refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Webhook:
    """Take signed requests; one that is answered 200 has its runs in Postgres."""

    events: Events
    signers: Signers
    clock: Clock

    def answer(self, request: Mapping[str, Any], invoked: Invoked) -> dict[str, Any]:
        """Return the answer to a request, whatever it is."""
        try:
            return _response(200, {"runs": self._take(request, invoked)})
        except _Refusal as error:
            return _response(error.status, {"message": str(error)})
        except Away as error:
            _LOG.warning("webhook put off: %s", error)
        except (ClientError, BotoCoreError) as error:
            _LOG.error("webhook put off: Secrets Manager: %s", type(error).__name__)
        return _response(503, {"message": "not taken; send the same request again"}, RETRY_AFTER_SECONDS)

    def _take(self, request: Mapping[str, Any], invoked: Invoked) -> list[dict[str, Any]]:
        path, raw = _path(request), _raw(request)
        signature = self._verified(path.partition("/")[0], request, raw)
        event = {"type": "webhook", "path": path, "key": replay_key(path, signature, raw), "body": _json(raw)}
        if caller := _header(request, "traceparent"):
            event["traceparent"] = caller
        answer = self.events.post(event, seconds_left(invoked))
        if answer.status != 200:
            _refused(answer)
        runs = answer.json().get("runs")
        if not isinstance(runs, list):
            raise Away("the dispatcher's answer names no runs")
        return runs

    def _verified(self, prefix: str, request: Mapping[str, Any], raw: bytes) -> Signature:
        """Return the signature of a request that one of the prefix's secrets has signed just now."""
        if not self.signers.secrets(prefix):
            raise _Refusal(404, "no webhook has this path")
        try:
            signature = parse(_header(request, HEADER))
            check_time(signature, self.clock.now().timestamp())
        except SignatureError as error:
            raise _Refusal(401, str(error)) from error
        if not matches(signature, self.signers.secrets(prefix), raw) and not matches(
            signature, self.signers.secrets(prefix, fresh=True), raw
        ):
            raise _Refusal(401, "the signature does not match; sign <t>.<raw body> by the webhook's secret")
        return signature


def handler(event: Mapping[str, Any], context: Invoked) -> dict[str, Any]:
    """Answer one request."""
    return _webhook().answer(event, context)


@cache
def _webhook() -> Webhook:
    settings, clock = read(webhook=True), Clock()
    return Webhook(open_events(settings), open_signers(settings.webhook_secret_prefix, clock), clock)


def _path(request: Mapping[str, Any]) -> str:
    path = str(request.get("rawPath", ""))
    name = path.removeprefix(_ROUTE)
    if name == path or len(name) > _MAX_PATH or not _PATH.fullmatch(name):
        raise _Refusal(404, "no webhook has this path")
    return name


def _raw(request: Mapping[str, Any]) -> bytes:
    """Return the body as it was sent, which is what was signed."""
    body = str(request.get("body") or "")
    # Before anything is decoded; base64 adds a third.
    if len(body) > MAX_BODY_BYTES * 2:
        _too_large()
    try:
        raw = base64.b64decode(body, validate=True) if request.get("isBase64Encoded") else body.encode()
    except (binascii.Error, ValueError) as error:
        raise _Refusal(400, "the body cannot be decoded") from error
    if len(raw) > MAX_BODY_BYTES:
        _too_large()
    return raw


def _too_large() -> NoReturn:
    raise _Refusal(413, f"the body is larger than {MAX_BODY_BYTES // 2**10} KiB; send a reference to what is large")


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _Refusal(400, "the body is no JSON") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _header(request: Mapping[str, Any], name: str) -> str:
    """Return a header; API Gateway writes their names in lower case, other callers may not."""
    headers = request.get("headers") or {}
    return next((str(value) for key, value in headers.items() if str(key).lower() == name), "")


def _refused(answer: Answer) -> NoReturn:
    if answer.status in _SENDERS:
        message = str(answer.json().get("message") or "the dispatcher refused it")
        raise _Refusal(answer.status, message[:MAX_MESSAGE_CHARS])
    raise Away(f"the dispatcher answered {answer.status}")


def _response(status: int, body: Mapping[str, Any], retry_after: int | None = None) -> dict[str, Any]:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    return {"statusCode": status, "headers": headers, "body": json.dumps(body), "isBase64Encoded": False}
