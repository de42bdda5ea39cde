"""Mail to a real SMTP server: encrypted, logged in, one Message-ID however often it is sent."""

from __future__ import annotations

import json
import socket
import ssl
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from controller.informers.notifier import LEASE
from controller.notify.message import compose
from tests.integration.certificates import make
from tests.integration.notify_world import FACTS, PREFIX, desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage
    from pathlib import Path

    from tests.conftest import Database
    from tests.integration.notify_world import Desk

USER, PASSWORD = "setpoint", "only-for-tests"
CHANNEL = {"email": {"to": ["a@example.com", "b@example.com"], "from": "setpoint@example.com", "smtpSecret": "smtp"}}


@dataclass
class Post:
    """What a mail server took."""

    port: int = 0
    taken: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    """What the next mails get; then 250."""
    refused: set[str] = field(default_factory=set)

    async def handle_RCPT(  # noqa: N802 - as aiosmtpd calls it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - as aiosmtpd calls it
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self.answers:
            return self.answers.pop(0)
        made = message_from_bytes(envelope.content or b"", policy=policy.default)  # type: ignore[arg-type]
        self.taken.append((list(envelope.rcpt_tos), made))  # type: ignore[arg-type]
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)  # type: ignore[union-attr]
        return "250 OK"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        self.logins.append(data.login.decode())
        known = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=known, handled=False)


class _AnyPort(Controller):
    """A server on a port that the system chooses."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        socket.create_connection((self.hostname, self.port)).close()


@contextmanager
def serving(tls: str, certificate: Path) -> Iterator[Post]:
    """Serve mail on a free port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    post = Post()
    options: dict[str, Any] = {"hostname": "localhost", "port": 0, "authenticator": post.authenticate}
    match tls:
        case "starttls":
            options |= {"tls_context": context, "require_starttls": True, "auth_required": True}
        case "implicit":
            options |= {"ssl_context": context, "auth_require_tls": False, "auth_required": True}
        case _:
            options |= {"auth_require_tls": False}
    server = _AnyPort(post, **options)
    server.start()
    post.port = server.port
    try:
        yield post
    finally:
        server.stop()


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    authority, file = make(tmp_path, "localhost")
    trusted = tmp_path / "authority.pem"
    trusted.write_text(authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    return file


@pytest.fixture
def office(database: Database) -> Iterator[Desk]:
    with desk(database) as made:
        yield made


def credentials(post: Post, tls: str, **more: Any) -> str:
    return json.dumps({"host": "localhost", "port": post.port, "user": USER, "password": PASSWORD, "tls": tls} | more)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_mail_goes_out(office: Desk, certificate: Path, tls: str) -> None:
    with serving(tls, certificate) as post:
        office.secrets.known[PREFIX + "smtp"] = credentials(post, tls)
        office.due(office.notifier("mail", **CHANNEL))
        office.round(office.deliverer())
        assert office.state("nt-mail")[:3] == (0, None, None)
    ((to, mail),) = post.taken
    assert to == ["a@example.com", "b@example.com"]
    assert (post.encrypted, post.logins) == ([True], [USER])
    assert mail["Subject"] == "[Setpoint] flights failed: load"
    assert mail["Message-ID"] == "<nt-mail-1@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    body = mail.get_content()
    assert "load: UserError: ValueError: a <bad> row & more" in body
    assert "Look: setpoint explain run/flights-0192" in body


def test_a_repeat_has_the_same_message_id(office: Desk, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("starttls", certificate) as post:
        office.secrets.known[PREFIX + "smtp"] = credentials(post, "starttls")
        office.due(office.notifier("mail", **CHANNEL))
        for _ in range(2):
            office.round(office.deliverer())
            office.execute("UPDATE notification SET sent_at = NULL")
            office.clock.by += LEASE
    first, second = (mail for _, mail in post.taken)
    assert first.as_string() == second.as_string()


def test_a_wrong_password_is_told_and_not_shown(office: Desk, certificate: Path) -> None:
    with serving("starttls", certificate) as post:
        office.secrets.known[PREFIX + "smtp"] = credentials(post, "starttls", password="wrong-secret")
        office.due(office.notifier("mail", **CHANNEL))
        deliverer = office.deliverer()
        office.round(deliverer)
        error = office.state("nt-mail")[2]
        assert error.startswith("localhost: 535")
        assert "wrong-secret" not in error

        office.secrets.known[PREFIX + "smtp"] = credentials(post, "starttls")
        office.clock.by += LEASE
        office.round(deliverer)
    assert len(post.taken) == 1


def test_a_server_that_is_not_who_it_says_gets_no_password(
    office: Desk, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with serving("starttls", certificate) as post:
        office.secrets.known[PREFIX + "smtp"] = credentials(post, "starttls")
        office.due(office.notifier("mail", **CHANNEL))
        office.round(office.deliverer())
    assert "certificate verify failed" in office.state("nt-mail")[2].lower()
    assert (post.taken, post.logins) == ([], [])


def test_one_recipient_that_is_refused_keeps_it_from_no_other(office: Desk, certificate: Path) -> None:
    with serving("none", certificate) as post:
        post.refused = {"a@example.com"}
        office.secrets.known[PREFIX + "smtp"] = credentials(post, "none", user="", password="")
        office.due(office.notifier("mail", **CHANNEL))
        office.round(office.deliverer())
    assert [to for to, _ in post.taken] == [["b@example.com"]]
    assert office.pending() == 0


def test_a_server_that_wants_it_later_gets_it_later(office: Desk, certificate: Path) -> None:
    with serving("none", certificate) as post:
        post.answers = ["451 try later"]
        office.secrets.known[PREFIX + "smtp"] = credentials(post, "none", user="", password="")
        office.due(office.notifier("mail", **CHANNEL))
        deliverer = office.deliverer()
        office.round(deliverer)
        assert office.state("nt-mail")[2] == "localhost: 451 try later"
        office.clock.by += LEASE
        office.round(deliverer)
    assert len(post.taken) == 1


@pytest.mark.parametrize(
    ("secret", "error"),
    [
        pytest.param("hunter2", "the secret is no JSON", id="no JSON"),
        pytest.param('"hunter2"', "describes no SMTP server", id="no object"),
        pytest.param('{"port": 587, "password": "hunter2"}', "look at host", id="no host"),
        pytest.param('{"host": "h", "password": "hunter2", "tls": "maybe"}', "look at tls", id="unknown tls"),
        pytest.param('{"host": "h", "passwort": "hunter2"}', "look at passwort", id="misspelt"),
        pytest.param('{"host": "a\\r\\nb", "password": "hunter2"}', "look at host", id="a line break"),
        pytest.param(
            '{"host": "mail.example.com", "user": "u", "password": "hunter2", "tls": "none"}',
            "does not go over the network unencrypted",
            id="a password in the clear",
        ),
        pytest.param('{"host": "169.254.169.254", "password": "hunter2"}', "where no receiver may be", id="metadata"),
    ],
)
def test_a_secret_that_makes_no_sense(office: Desk, secret: str, error: str) -> None:
    office.secrets.known[PREFIX + "smtp"] = secret
    office.due(office.notifier("mail", **CHANNEL))
    office.round(office.deliverer())
    told = office.state("nt-mail")[2]
    assert error in told
    assert "hunter2" not in told


def test_no_text_becomes_a_header(office: Desk, certificate: Path) -> None:
    evil = "x\r\nBcc: evil@example.com\r\n\r\nhello"
    facts = {"name": evil, "dag": evil, "tasks": [{"task": evil, "index": 0, "reason": evil, "message": evil}]}
    with serving("none", certificate) as post:
        office.secrets.known[PREFIX + "smtp"] = credentials(post, "none", user="", password="")
        office.due(office.notifier("mail", **CHANNEL), **facts)
        office.round(office.deliverer())
    ((to, mail),) = post.taken
    assert to == ["a@example.com", "b@example.com"]
    assert mail["Bcc"] is None
    assert "\n" not in compose("id", "RunFailed", FACTS | facts).subject
