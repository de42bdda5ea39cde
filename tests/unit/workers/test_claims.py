"""What a received batch becomes."""

from __future__ import annotations

import pytest

from workers.claims import Batch, read
from workers.queue import Delivery

GOOD = '{"attempt": "run/task/0/1", "delivery": 1}'


@pytest.mark.parametrize(
    ("body", "good"),
    [
        pytest.param(GOOD, True, id="good"),
        pytest.param('{"attempt": "run/task/0/1", "delivery": 1, "new": true}', True, id="from a newer dispatcher"),
        pytest.param("", False, id="empty"),
        pytest.param("[]", False, id="no object"),
        pytest.param('{"attempt": "run/task/0/1"}', False, id="no delivery"),
        pytest.param('{"attempt": "run/task/0", "delivery": 1}', False, id="no attempt id"),
        pytest.param('{"attempt": "../x/0/1", "delivery": "1"}', False, id="wrong type"),
        pytest.param('{"attempt": "%s/task/0/1", "delivery": 1}' % ("x" * 128), False, id="too long"),
    ],
)
def test_read(body: str, good: bool) -> None:
    batch = read([Delivery("handle", body)])

    assert (len(batch.attempts), batch.malformed) == ((1, []) if good else (0, ["handle"]))


def test_same_attempt_twice_is_claimed_once_and_deleted_twice() -> None:
    batch = read([Delivery("one", GOOD), Delivery("two", GOOD.replace("1}", "2}"))])

    assert isinstance(batch, Batch)
    assert [message.delivery for message in batch.attempts] == [1]
    assert batch.handles == {"run/task/0/1": ["one", "two"]}
