"""Keys over NOTIFY, backoff, drawn ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.runtime.backoff import exponential, jittered
from controller.runtime.ids import DrawnIds
from controller.runtime.keys import Key, Kind
from controller.runtime.wakes import PAYLOAD_LIMIT, decode, encode

uids = st.text("0123456789abcdef", min_size=1, max_size=20)


@given(st.lists(st.builds(Key, st.sampled_from(Kind), uids), max_size=50))
def test_keys_survive_a_notify(keys: list[Key]) -> None:
    assert decode(encode(keys)) == keys


def test_a_payload_keeps_to_its_limit() -> None:
    keys = [Key(Kind.RUN, f"{n:020x}") for n in range(1_000)]
    payload = encode(keys)

    assert len(payload) <= PAYLOAD_LIMIT
    assert decode(payload) == keys[: len(decode(payload))]
    assert len(decode(payload)) > 300


@pytest.mark.parametrize("payload", ["", ",", "run:", "nothing:x", ":x", "run"])
def test_what_is_malformed_is_passed_over(payload: str) -> None:
    assert decode(f"{payload},dag:d") == [Key(Kind.DAG, "d")]


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        pytest.param(1, 5, id="first"),
        pytest.param(2, 10, id="doubles"),
        pytest.param(4, 40, id="and doubles"),
        pytest.param(9, 60, id="up to the most"),
        pytest.param(10**9, 60, id="however often"),
        pytest.param(0, 5, id="none counts as the first"),
    ],
)
def test_exponential(failures: int, seconds: int) -> None:
    first, most = timedelta(seconds=5), timedelta(minutes=1)
    assert exponential(first, 2.0, most, failures) == timedelta(seconds=seconds)


@given(st.text(max_size=30), st.integers(0, 10**6))
def test_jitter_is_a_part_of_the_span_and_always_the_same(name: str, seconds: int) -> None:
    span = timedelta(seconds=seconds)
    assert timedelta(0) <= jittered(span, name) <= span
    assert jittered(span, name) == jittered(span, name)


def test_jitter_spreads() -> None:
    waits = sorted(jittered(timedelta(seconds=100), f"run/t/0/{n}").total_seconds() for n in range(1_000))
    assert waits[0] < 2
    assert 45 < waits[500] < 55
    assert waits[-1] > 98


def test_drawn_ids_differ_and_sort_by_time() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ids = DrawnIds()
    early = {ids.uid(now) for _ in range(1_000)}
    assert len(early) == 1_000
    assert max(early) < ids.uid(now + timedelta(milliseconds=1))
    assert all(len(uid) == 20 for uid in early)
