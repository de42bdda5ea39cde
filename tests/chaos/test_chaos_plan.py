"""The plan of faults: every kind comes, and the same seed gives the same plan."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.plan import PROFILES, Kind, plan

MINUTES = 2


@pytest.mark.parametrize("name", PROFILES)
def test_the_same_seed_gives_the_same_plan(name: str) -> None:
    assert plan(PROFILES[name], 7, 600) == plan(PROFILES[name], 7, 600)
    assert plan(PROFILES[name], 7, 600) != plan(PROFILES[name], 8, 600)


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_comes_twice_in_two_minutes(seed: int) -> None:
    kinds = Counter(fault.kind for fault in plan(PROFILES["mixed"], seed, MINUTES * 60))
    assert kinds.keys() == set(Kind)
    assert min(kinds.values()) >= 2


def test_faults_are_ordered_and_end_in_time() -> None:
    faults = plan(PROFILES["mixed"], 1, 600)
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert all(0 <= fault.at < 600 and 0 <= fault.draw < 1 for fault in faults)


def test_a_rate_of_two_doubles_the_faults() -> None:
    assert len(plan(PROFILES["mixed"], 1, 600, rate=2)) == 2 * len(plan(PROFILES["mixed"], 1, 600))
