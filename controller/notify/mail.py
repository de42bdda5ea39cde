"""Mail by an SMTP server that a secret names."""

from __future__ import annotations

import json
import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.utils import format_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controller.notify.network import cut_after, dial, loopback
from controller.notify.undelivered import Undelivered, said

if TYPE_CHECKING:
    import socket
    from datetime import datetime

    from controller.notify.message import Text
    from crds.notifier import EmailChannel

log = structlog.get_logger()
SEND_WITHIN = 25.0
"""Seconds from the connection to the end of the talk, which is a dozen round trips."""
READ_WITHIN = 10.0
SUBJECT_CHARS = 200


class Tls(StrEnum):
    """How a connection is made secret."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    NONE = "none"


class Smtp(BaseModel):
    """A server and how to log in, as its secret says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._:-]+$")]
    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    user: str = ""
    password: str = Field(default="", repr=False)
    tls: Tls = Tls.STARTTLS


class _Client(smtplib.SMTP):
    """A client on a connection that is there already."""

    def __init__(self, connection: socket.socket, server: Smtp, own_name: str) -> None:
        self._connection = connection
        super().__init__(server.host, server.port, local_hostname=own_name, timeout=READ_WITHIN)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002 - smtplib calls it so
        return self._connection


def read_server(secret: str) -> Smtp:
    """Return the server that a secret's JSON describes; raise Undelivered, without its values, if it describes none."""
    try:
        server = Smtp.model_validate(json.loads(secret))
    except ValidationError as error:
        fields = ", ".join(sorted({str(e["loc"][0]) for e in error.errors() if e["loc"]})) or "its form"
        raise Undelivered(f"the secret describes no SMTP server: look at {fields}") from None
    except ValueError:
        raise Undelivered("the secret is no JSON; it is {host, port, user, password, tls}") from None
    if server.tls is Tls.NONE and server.user and not loopback(server.host):
        raise Undelivered("the secret says tls none, and a password does not go over the network unencrypted")
    return server


def send(secret: str, channel: EmailChannel, text: Text, at: datetime) -> None:
    """Send a mail; raise Undelivered if no recipient was accepted."""
    server = read_server(secret)
    secrets = (server.password,)
    connection = dial(server.host, server.port)
    try:
        with cut_after(connection, SEND_WITHIN):
            refused = _talk(connection, server, channel, mail(channel, text, at))
    except (OSError, smtplib.SMTPException) as error:
        raise Undelivered(f"{server.host}: {said(_told(error), secrets)}") from error
    finally:
        connection.close()
    if refused:
        # The others have it: a repeat would reach them again, and those that were refused no better.
        log.warning("some recipients were refused", notification=text.id, refused=len(refused), of=len(channel.to))


def mail(channel: EmailChannel, text: Text, at: datetime) -> EmailMessage:
    """Return the mail; its Message-ID is derived, so that a reader folds repeats into one."""
    made = EmailMessage()
    domain = channel.sender.rpartition("@")[2]
    made["From"] = channel.sender
    made["To"] = ", ".join(channel.to)
    made["Subject"] = f"[Setpoint] {text.subject}"[:SUBJECT_CHARS]
    made["Date"] = format_datetime(at)
    made["Message-ID"] = f"<{text.id}@{domain}>"
    # No vacation notices in answer (RFC 3834).
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(text.plain)
    return made


def _talk(
    connection: socket.socket, server: Smtp, channel: EmailChannel, made: EmailMessage
) -> dict[str, tuple[int, bytes]]:
    connection.settimeout(READ_WITHIN)
    stream = connection
    context = ssl.create_default_context()
    if server.tls is Tls.IMPLICIT:
        stream = context.wrap_socket(connection, server_hostname=server.host)
    client = _Client(stream, server, channel.sender.rpartition("@")[2])
    try:
        if server.tls is Tls.STARTTLS:
            client.starttls(context=context)
        if server.user:
            client.login(server.user, server.password)
        refused = client.send_message(made, channel.sender, list(channel.to))
        # The server has it: how the talk ends no longer matters.
        with suppress(OSError, smtplib.SMTPException):
            client.quit()
        return refused
    finally:
        client.close()


def _told(error: Exception) -> str:
    match error:
        case smtplib.SMTPRecipientsRefused():
            code, why = next(iter(error.recipients.values()))
            return f"refused all recipients: {code} {_decoded(why)}"
        case smtplib.SMTPResponseException():
            return f"{error.smtp_code} {_decoded(error.smtp_error)}"
        case _:
            return str(error) or type(error).__name__


def _decoded(text: bytes | str) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text
