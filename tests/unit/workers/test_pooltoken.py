"""When the pool token is read again."""

from __future__ import annotations

import pytest

from workers.clock import Clock
from workers.pooltoken import REFUSED_SECONDS, REREAD_SECONDS, SecretToken


class HandClock(Clock):
    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Source:
    def __init__(self, *values: str | Exception) -> None:
        self.values = list(values)
        self.reads = 0

    def __call__(self) -> str:
        self.reads += 1
        value = self.values.pop(0) if len(self.values) > 1 else self.values[0]
        if isinstance(value, Exception):
            raise value
        return value


@pytest.mark.parametrize(
    ("seconds", "reads"),
    [
        pytest.param(REREAD_SECONDS - 1, 1, id="kept"),
        pytest.param(REREAD_SECONDS, 2, id="read again"),
    ],
)
def test_rotation(seconds: float, reads: int) -> None:
    clock, source = HandClock(), Source("old", "new")
    token = SecretToken(source, clock)
    assert token.current() == "old"

    clock.seconds = seconds

    assert token.current() == ("old" if reads == 1 else "new")
    assert source.reads == reads


def test_refused_token_is_read_again_but_not_at_every_request() -> None:
    clock, source = HandClock(), Source("old", "old", "new")
    token = SecretToken(source, clock)
    token.current()
    for seconds, reads in ((1, 1), (REFUSED_SECONDS, 2), (REFUSED_SECONDS + 1, 2), (2 * REFUSED_SECONDS, 3)):
        clock.seconds = seconds
        token.refused()
        token.current()
        assert source.reads == reads
    assert token.current() == "new"


def test_old_token_stays_while_secrets_manager_is_away() -> None:
    clock, source = HandClock(), Source("old", OSError("away"))
    token = SecretToken(source, clock)
    token.current()

    clock.seconds = REREAD_SECONDS

    assert token.current() == "old"


def test_without_any_token_the_error_is_seen() -> None:
    with pytest.raises(OSError, match="away"):
        SecretToken(Source(OSError("away")), HandClock()).current()
