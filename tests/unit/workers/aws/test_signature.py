"""How webhooks are signed."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.aws.signature import (
    MAX_SIGNATURES,
    TOLERANCE_SECONDS,
    Signature,
    SignatureError,
    check_time,
    matches,
    parse,
    replay_key,
    sign,
)

SECRET, BODY, NOW = b"secret", b'{"a": 1}', 1_790_000_000


def test_the_signature_is_the_hmac_of_time_and_body() -> None:
    expected = hmac.new(SECRET, f"{NOW}.".encode() + BODY, hashlib.sha256).hexdigest()
    assert sign(SECRET, NOW, BODY) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("t=12,v1=ab", Signature(12, ("ab",)), id="plain"),
        pytest.param(" v1=AB , t=12", Signature(12, ("ab",)), id="order, spaces, case"),
        pytest.param("t=12,v1=ab,v1=cd,v0=ef", Signature(12, ("ab", "cd")), id="two secrets, other schemes"),
    ],
)
def test_parse(header: str, expected: Signature) -> None:
    assert parse(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="none"),
        pytest.param("t=12", id="no digest"),
        pytest.param("v1=ab", id="no time"),
        pytest.param("t=1,t=2,v1=ab", id="two times"),
        pytest.param("t=-5,v1=ab", id="negative"),
        pytest.param("t=٣,v1=ab", id="other digits"),
        pytest.param(f"t={'9' * 13},v1=ab", id="a number without end"),
        pytest.param("t=1," + ",".join(["v1=ab"] * (MAX_SIGNATURES + 1)), id="too many"),
    ],
)
def test_no_signature(header: str) -> None:
    with pytest.raises(SignatureError):
        parse(header)


@given(st.text(max_size=200))
def test_any_header_is_read_or_refused(header: str) -> None:
    try:
        parse(header)
    except SignatureError:
        return


@pytest.mark.parametrize(
    ("secrets", "time", "body", "expected"),
    [
        pytest.param([SECRET], NOW, BODY, True, id="the secret"),
        pytest.param([b"other", SECRET], NOW, BODY, True, id="the previous one"),
        pytest.param([b"other"], NOW, BODY, False, id="another secret"),
        pytest.param([], NOW, BODY, False, id="no secret"),
        pytest.param([SECRET], NOW + 1, BODY, False, id="another time"),
        pytest.param([SECRET], NOW, BODY + b" ", False, id="another body"),
    ],
)
def test_matches(secrets: list[bytes], time: int, body: bytes, expected: bool) -> None:
    assert matches(Signature(time, ("00", sign(SECRET, NOW, BODY))), secrets, body) is expected


@pytest.mark.parametrize("age", [TOLERANCE_SECONDS + 1, -TOLERANCE_SECONDS - 1])
def test_a_time_that_is_far_away(age: int) -> None:
    with pytest.raises(SignatureError):
        check_time(Signature(NOW - age, ("",)), NOW)
    check_time(Signature(NOW - TOLERANCE_SECONDS, ("",)), NOW)


def test_the_key_follows_path_time_and_body() -> None:
    signed = Signature(NOW, ("ab",))
    assert replay_key("shop/orders", signed, BODY) == hashlib.sha256(b"shop/orders.%d." % NOW + BODY).hexdigest()
    assert replay_key("shop/orders", Signature(NOW, ("cd",)), BODY) == replay_key("shop/orders", signed, BODY)
