"""The channel of a notifier: its secret, and the sender of its kind."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from pydantic import ValidationError

from controller.errors import SetpointError
from controller.notify import mail, slack
from controller.notify.message import compose
from controller.notify.undelivered import Undelivered, said
from crds.notifier import NotifierSpec
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from controller.api.tokens import Secrets
    from controller.notify.sns import Topics
    from controller.store.notifications import Claimed

REREAD_SECONDS = 60.0
"""How long a secret's value is kept; one that did not work is read again at once."""
KEPT_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class _Kept:
    value: str
    read_at: float


class NotifierSecrets:
    """The secrets of channels, by the names that notifiers give them below one prefix. A value is never logged or stored."""

    def __init__(self, secrets: Secrets, prefix: str, monotonic: Callable[[], float]) -> None:
        self._secrets = secrets
        self._prefix = prefix
        self._monotonic = monotonic
        self._kept: dict[str, _Kept] = {}
        self._lock = Lock()

    def value(self, name: str) -> str:
        """Return a secret's current value; raise Undelivered if there is none."""
        now = self._monotonic()
        with self._lock:
            kept = self._kept.get(name)
        if kept is not None and now - kept.read_at < REREAD_SECONDS:
            return kept.value
        full = self._prefix + name
        try:
            values = self._secrets.values(full)
        except SetpointError as error:
            raise Undelivered(f"the secret {full} cannot be read: {said(str(error), ())}") from error
        if not values:
            text = f"the secret {full} does not exist or is empty; create it in Secrets Manager"
            raise Undelivered(text, Reason.SECRET_MISSING)
        with self._lock:
            if len(self._kept) >= KEPT_LIMIT:
                self._kept.clear()
            self._kept[name] = _Kept(values[0], now)
        return values[0]

    def forget(self, name: str) -> None:
        """Have a secret read anew, for what it said did not work."""
        with self._lock:
            self._kept.pop(name, None)


class Channels:
    """What sends messages by the channel that their notifier names."""

    def __init__(self, secrets: NotifierSecrets, topics: Topics, public_url: str = "") -> None:
        self._secrets = secrets
        self._topics = topics
        self._public_url = public_url

    def check(self, spec: Mapping[str, Any]) -> None:
        """Look for the secret that a stored spec names; raise Undelivered if it is missing or says nothing of use."""
        parsed = read_spec(spec)
        if parsed.slack is not None:
            self._secrets.value(parsed.slack.url_secret)
        if parsed.email is not None:
            mail.read_server(self._secrets.value(parsed.email.smtp_secret))

    def send(self, claimed: Claimed) -> None:
        """Send a message; raise Undelivered if it did not go out."""
        spec = read_spec(claimed.spec)
        name = secret_of(spec)
        try:
            self._send(spec, claimed)
        except Undelivered:
            if name:
                self._secrets.forget(name)
            raise

    def _send(self, spec: NotifierSpec, claimed: Claimed) -> None:
        text = compose(claimed.id, claimed.occasion, claimed.facts, self._public_url)
        if spec.slack is not None:
            slack.post(self._secrets.value(spec.slack.url_secret), text)
        elif spec.sns is not None:
            self._topics.publish(spec.sns.topic_arn, text)
        elif spec.email is not None:
            mail.send(self._secrets.value(spec.email.smtp_secret), spec.email, text, claimed.created_at)


def read_spec(spec: Mapping[str, Any]) -> NotifierSpec:
    """Return a stored spec, read leniently; raise Undelivered if it makes no sense to this version."""
    try:
        return NotifierSpec.model_validate(spec, extra="ignore")
    except ValidationError as error:
        raise Undelivered("its spec cannot be read by this version of the dispatcher; apply it again") from error


def secret_of(spec: NotifierSpec) -> str | None:
    """Return the name of the secret that a channel needs."""
    if spec.slack is not None:
        return spec.slack.url_secret
    return spec.email.smtp_secret if spec.email is not None else None
