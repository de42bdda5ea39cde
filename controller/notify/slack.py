"""Slack's incoming webhooks, and what understands their messages (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks)."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from controller.notify.network import cut_after, dial, loopback
from controller.notify.undelivered import Undelivered, said

if TYPE_CHECKING:
    import socket
    from urllib.parse import SplitResult

    from controller.notify.message import Text

SEND_WITHIN = 15.0
"""Seconds from the connection to the end of the answer."""
READ_WITHIN = 10.0
ANSWER_BYTES = 2_048
"""So much of an answer is read; Slack's are one word."""
HEADER_CHARS, SECTION_CHARS = 150, 2_900
"""The most characters of a header (https://docs.slack.dev/reference/block-kit/blocks) and, with room for marks, of a section."""
RETRY_AFTER_MOST = 3_600.0
TOO_MANY = 429


def post(url: str, text: Text) -> None:
    """Send a message to a webhook; raise Undelivered unless it answers 2xx."""
    parts = _checked(url)
    host, secret = parts.hostname or "", parts.path
    connection = dial(host, parts.port or (443 if parts.scheme == "https" else 80))
    try:
        with cut_after(connection, SEND_WITHIN):
            connection.settimeout(READ_WITHIN)
            _exchange(connection, parts, text)
    except (OSError, http.client.HTTPException) as error:
        raise Undelivered(
            f"{host} did not answer: {said(str(error) or type(error).__name__, (url, secret))}"
        ) from error
    finally:
        connection.close()


def body(text: Text) -> dict[str, Any]:
    """Return the JSON of a message: blocks, and the text that notifications and old clients show."""
    mark = ":red_circle:" if text.bad else ":large_green_circle:"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": text.subject[:HEADER_CHARS], "emoji": False}},
        _section(f"{mark} {escaped(text.summary)}"),
    ]
    if text.failures:
        lines = "\n".join(f"{f.task}: {f.why}" for f in text.failures)
        # A block of code ends at three backticks, so there are none in it.
        blocks.append(_section(f"```{_cut(escaped(lines.replace('`', chr(39))))}```"))
    look = f"`{escaped(text.command)}`"
    blocks.append(_section(f"{look}  <{escaped(text.link)}|open>" if text.link else look))
    return {"text": escaped(f"{text.subject}: {text.summary}"), "blocks": blocks}


def escaped(text: str) -> str:
    """Return text that mrkdwn takes for nothing but text (https://docs.slack.dev/messaging/formatting-message-text#escaping)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _cut(text: str) -> str:
    """Return at most a section's worth of escaped text, never half an escape."""
    if len(text) <= SECTION_CHARS:
        return text
    kept = text[:SECTION_CHARS]
    start = kept.rfind("&")
    return (kept[:start] if start >= 0 and ";" not in kept[start:] else kept) + "…"


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"} or not url.strip().isascii() or " " in url.strip():
        raise Undelivered(
            "the secret holds no URL of a webhook; put one there, like https://hooks.slack.com/services/…"
        )
    if parts.scheme == "http" and not loopback(host):
        raise Undelivered(f"the URL of the webhook at {host} begins with http; only https is used")
    return parts


def _exchange(connection: socket.socket, parts: SplitResult, text: Text) -> None:
    host = parts.hostname or ""
    stream = connection
    if parts.scheme == "https":
        stream = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    spoken = http.client.HTTPConnection(parts.netloc.rpartition("@")[2], timeout=READ_WITHIN)
    spoken.sock = stream
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": text.id, "User-Agent": "setpoint"}
    try:
        spoken.request("POST", path, json.dumps(body(text)).encode(), headers | {"Connection": "close"})
        answer = spoken.getresponse()
        status, told = answer.status, answer.read(ANSWER_BYTES).decode("utf-8", "replace")
    finally:
        spoken.close()
    if 200 <= status < 300:
        return
    # A redirect is no success either: who follows it can be led anywhere.
    why = said(told, (parts.geturl(), parts.path))
    wait = _seconds(answer.getheader("Retry-After")) if status in {TOO_MANY, 503} else None
    raise Undelivered(f"{host} answered {status}{': ' + why if why else ''}", retry_after=wait)


def _seconds(value: str | None) -> float | None:
    return min(float(value), RETRY_AFTER_MOST) if value is not None and value.strip().isdecimal() else None
