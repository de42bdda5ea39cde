"""When a message that did not go out is tried again, and when it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from controller.diff.delivering import CHANNEL_MOST, GIVE_UP_AFTER, MESSAGE_MOST, Again, Failed, GiveUp, after
from crds.reasons import Reason

NOW = datetime(2026, 3, 2, 8, 0, 0, tzinfo=UTC)


def failed(tries: int = 1, failures: int = 1, age: timedelta = timedelta(0), **more: object) -> Failed:
    return Failed("id", NOW - age, tries, failures, **more)  # type: ignore[arg-type]


def again(what: Failed) -> Again:
    plan = after(what, NOW)
    assert isinstance(plan, Again)
    return plan


def test_waits_grow_to_a_bound() -> None:
    waits = [again(failed(tries=n)).message_at - NOW for n in range(1, 30)]
    assert timedelta(seconds=2.5) <= waits[0] <= timedelta(seconds=5)
    assert MESSAGE_MOST / 2 <= max(waits) <= MESSAGE_MOST
    # Half of a wait is fixed and the other half jitter, so one that is four times as long is longer.
    assert all(later > early for early, later in pairwise(waits[:8:2]))
    assert again(failed(failures=100)).channel_at <= NOW + CHANNEL_MOST


def test_a_wait_is_derived_not_drawn() -> None:
    assert after(failed(3), NOW) == after(failed(3), NOW)


def test_what_the_receiver_asks_for_is_kept_to() -> None:
    plan = again(failed(retry_after=timedelta(hours=1)))
    assert plan.channel_at == plan.message_at == NOW + timedelta(hours=1)


def test_without_a_secret_messages_wait_for_it_and_not_for_themselves() -> None:
    plan = again(failed(tries=20, reason=Reason.SECRET_MISSING))
    assert plan.message_at == plan.channel_at <= NOW + CHANNEL_MOST


def test_it_is_given_up_after_a_day() -> None:
    assert isinstance(after(failed(age=GIVE_UP_AFTER - timedelta(seconds=1)), NOW), Again)
    assert isinstance(after(failed(age=GIVE_UP_AFTER), NOW), GiveUp)
