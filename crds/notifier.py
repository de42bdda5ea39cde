"""The Notifier: which ends of runs and which turns of datasets people are told of, and where."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from crds.meta import LABEL_LIMIT, LabelValue, Model, Resource, Status

MAX_RECIPIENTS = 50
"""So many an SES message may have (https://docs.aws.amazon.com/ses/latest/dg/quotas.html)."""


class Occasion(StrEnum):
    """What people can be told of."""

    RUN_FAILED = "RunFailed"
    RUN_SUCCEEDED = "RunSucceeded"
    RUN_RECOVERED = "RunRecovered"
    DATASET_STALE = "DatasetStale"
    DATASET_FRESH = "DatasetFresh"


# Below the environment's own prefix of secrets for notifiers; so a notifier reads no other secret.
NotifierSecret = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_+=.@-]{0,63}(/[A-Za-z0-9_][A-Za-z0-9_+=.@-]{0,63}){0,2}$",
        max_length=256,
        description="A Secrets Manager name below `<name prefix>/notifiers/`.",
    ),
]
# Neither spaces nor line breaks nor brackets: it stands in a header as it is.
EmailAddress = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*$", max_length=254),
]
TopicArn = Annotated[
    str,
    Field(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$", max_length=400),
]


class LabelSelector(Model):
    """Labels that a Dag or Dataset must have, all of them; none: every one matches."""

    match_labels: dict[Annotated[str, Field(max_length=63)], LabelValue] = Field(
        default_factory=dict, max_length=LABEL_LIMIT
    )


class SlackChannel(Model):
    """An incoming webhook of Slack, or of what understands its messages."""

    url_secret: NotifierSecret


class SnsChannel(Model):
    """A topic of Amazon SNS."""

    topic_arn: TopicArn


class EmailChannel(Model):
    """Mail by an SMTP server; its secret is JSON: host, port, user, password, tls (starttls, implicit or none)."""

    to: tuple[EmailAddress, ...] = Field(min_length=1, max_length=MAX_RECIPIENTS)
    sender: EmailAddress = Field(alias="from")
    smtp_secret: NotifierSecret


class NotifierSpec(Model):
    """Who is told of what; exactly one of slack, sns and email."""

    on: tuple[Occasion, ...] = Field(min_length=1, max_length=len(Occasion))
    selector: LabelSelector = LabelSelector()
    slack: SlackChannel | None = None
    sns: SnsChannel | None = None
    email: EmailChannel | None = None

    @model_validator(mode="after")
    def _one_channel(self) -> NotifierSpec:
        given = [name for name in ("slack", "sns", "email") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of slack, sns and email is needed, not {', '.join(given) or 'none'}")
        return self

    @property
    def channel(self) -> Literal["slack", "sns", "email"]:
        """Return the name of the channel."""
        if self.slack is not None:
            return "slack"
        return "sns" if self.sns is not None else "email"


class NotifierStatus(Status):
    """What was observed of a notifier."""

    pending: int = 0
    last_sent: datetime | None = None
    last_error: str | None = None
    last_error_time: datetime | None = None


class Notifier(Resource):
    """A channel by which people are told what became of runs and datasets."""

    kind: Literal["Notifier"]
    spec: NotifierSpec
    status: NotifierStatus | None = None
