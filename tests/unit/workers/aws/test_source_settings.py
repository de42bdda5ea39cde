"""What the environment of a source may say."""

from __future__ import annotations

import pytest

from workers.aws.settings import read

GOOD = {"SETPOINT_URL": "https://dispatcher.example/", "SETPOINT_EVENTS_TOKEN_SECRET": "dev/events-token"}


def test_good() -> None:
    settings = read(environment={**GOOD, "AWS_REGION": "eu-west-1"})
    assert (settings.url, settings.api_ca) == ("https://dispatcher.example", "")


@pytest.mark.parametrize(
    ("more", "webhook", "says"),
    [
        pytest.param(
            {"SETPOINT_EVENT_TOKEN_SECRET": "x"}, False, "did you mean SETPOINT_EVENTS_TOKEN_SECRET", id="typo"
        ),
        pytest.param({"SETPOINT_WEBHOOK_SECRET_PREFIX": "x"}, False, "no setting of this function", id="another's"),
        pytest.param({"SETPOINT_URL": ""}, False, "SETPOINT_URL is missing", id="no URL"),
        pytest.param({"SETPOINT_URL": "dispatcher"}, False, "no http", id="no address"),
        pytest.param({}, True, "SETPOINT_WEBHOOK_SECRET_PREFIX is missing", id="no prefix"),
    ],
)
def test_refused(more: dict[str, str], webhook: bool, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(webhook=webhook, environment={**GOOD, **more})
