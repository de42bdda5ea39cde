"""The stream between a worker and its child."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.frames import MAX_FRAME_BYTES, BrokenStream, EventReader, Finished, Logged, Progressed, Revealed, encode

EVENTS = [Progressed(1, "one"), Logged("ü\n"), Revealed("secret"), Finished("succeeded", {"a": [1, None]})]


@given(st.lists(st.integers(1, 40)))
def test_events_survive_any_cut(sizes: list[int]) -> None:
    stream = b"".join(encode(event) for event in EVENTS)
    reader = EventReader()
    seen = []
    for size in [*sizes, len(stream)]:
        seen += reader.feed(stream[:size])
        stream = stream[size:]

    assert seen == EVENTS


@pytest.mark.parametrize(
    "data",
    [
        pytest.param((MAX_FRAME_BYTES + 1).to_bytes(4, "big"), id="too long"),
        pytest.param(b"\0\0\0\x02{}", id="no event"),
        pytest.param(b"\0\0\0\x03abc", id="no JSON"),
    ],
)
def test_nonsense_is_told_apart(data: bytes) -> None:
    with pytest.raises(BrokenStream):
        EventReader().feed(data)
