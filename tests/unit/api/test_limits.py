"""Token buckets, and whose address a request has."""

from __future__ import annotations

import pytest

from controller.api.addresses import client_address, networks
from controller.api.limits import Buckets, Limits, Rate, RateLimitedError

PROXIES = networks("10.0.0.0/16, fd00::/8")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills_for_each_caller() -> None:
    clock = Clock()
    buckets = Buckets(Rate(2, 3), clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    clock.now += 0.5
    assert [buckets.take("a"), buckets.take("a")] == [0, 0.5]
    clock.now += 1_000
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_what_is_counted_is_bounded() -> None:
    buckets = Buckets(Rate(1, 1), Clock(), callers=10)
    for n in range(100):
        buckets.take(str(n))
    assert len(buckets._levels) == 10


def test_limits_say_when_to_come_again() -> None:
    limits = Limits(Buckets(Rate(0.1, 1), Clock()), Buckets(Rate(1, 2), Clock()))
    limits.ask("a")
    with pytest.raises(RateLimitedError, match="try again in 10 s") as found:
        limits.ask("a")
    assert (found.value.code, found.value.retry_after) == (429, 10)
    for _ in range(2):
        limits.may_fail("1.2.3.4")
        limits.failed("1.2.3.4")
    with pytest.raises(RateLimitedError):
        limits.may_fail("1.2.3.4")
    limits.may_fail("1.2.3.5")


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        pytest.param("203.0.113.9", [], "203.0.113.9", id="direct"),
        pytest.param("203.0.113.9", ["198.51.100.1"], "203.0.113.9", id="a stranger's word"),
        pytest.param("10.0.1.1", [], "10.0.1.1", id="a proxy that says nothing"),
        pytest.param("10.0.1.1", ["203.0.113.9"], "203.0.113.9", id="a proxy's word"),
        pytest.param("10.0.1.1", ["1.1.1.1, 203.0.113.9"], "203.0.113.9", id="the client lied to the proxy"),
        pytest.param("10.0.1.1", ["10.0.9.9, 203.0.113.9"], "203.0.113.9", id="the client named a proxy"),
        pytest.param("10.0.1.1", ["203.0.113.9, 10.0.2.2"], "203.0.113.9", id="two proxies"),
        pytest.param("10.0.1.1", ["1.1.1.1", "203.0.113.9"], "203.0.113.9", id="two headers"),
        pytest.param("10.0.1.1", ["203.0.113.9:51234"], "203.0.113.9", id="with a port"),
        pytest.param("fd00::1", ["[2001:db8::7]:443"], "2001:db8::7", id="IPv6"),
        pytest.param("::ffff:10.0.1.1", ["203.0.113.9"], "203.0.113.9", id="IPv4 in IPv6"),
        pytest.param("10.0.1.1", ["203.0.113.9, rubbish"], "10.0.1.1", id="no address"),
        pytest.param("10.0.1.1", [", ".join(["10.0.1.1"] * 10_000)], "10.0.1.1", id="very many"),
    ],
)
def test_the_client_is_the_rightmost_that_no_proxy_is(peer: str, forwarded: list[str], expected: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == expected
