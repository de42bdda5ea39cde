"""What the environment may say, and what is refused."""

from __future__ import annotations

import pytest

from workers.settings import Settings, read

GOOD = {
    "SETPOINT_URL": "http://127.0.0.1:8080",
    "SETPOINT_POOL": "python",
    "SETPOINT_POOL_TOKEN": "token",
    "SETPOINT_QUEUE_URL": "http://127.0.0.1:1/q",
    "SETPOINT_OBJECT_STORE": "file:///tmp/objects",
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(f"SETPOINT_{field.upper()}", raising=False)


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)

    settings = read()

    assert (settings.slots, settings.namespace, settings.grace_seconds, settings.hot_dsn) == (2, "default", 110, None)
    assert "token" not in repr(settings.pool_token)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        pytest.param({"SETPOINT_SLOT": "2"}, "did you mean SETPOINT_SLOTS", id="unknown"),
        pytest.param({"SETPOINT_POOL_TOKEN_SECRET": "name"}, "either", id="two tokens"),
        pytest.param({"SETPOINT_POOL_TOKEN": ""}, "either", id="empty token"),
        pytest.param({"SETPOINT_SLOTS": "0"}, "slots", id="no slots"),
        pytest.param({"SETPOINT_SLOTS": "257"}, "slots", id="more than a heartbeat names"),
        pytest.param({"SETPOINT_URL": "127.0.0.1"}, "url", id="no URL"),
        pytest.param({"SETPOINT_OBJECT_STORE": "/tmp"}, "object_store", id="no store"),
        pytest.param({"SETPOINT_POOL": "Python"}, "pool", id="no name"),
    ],
)
def test_refused(monkeypatch: pytest.MonkeyPatch, more: dict[str, str], message: str) -> None:
    for name, value in {**GOOD, **more}.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ValueError, match=message):
        read()
