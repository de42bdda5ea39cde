"""Hundreds of schedules, each from its seed: whatever breaks, no promise is broken, and in bounded time all is final."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulation.plan import Violation
from tests.simulation.schedule import simulate
from tests.simulation.shrink import describe

if TYPE_CHECKING:
    from tests.simulation.ground import Ground

GROUPS, EACH = 50, 10


@pytest.mark.parametrize("group", range(GROUPS))
def test_no_schedule_breaks_a_promise(ground: Ground, group: int) -> None:
    for seed in range(group * EACH, (group + 1) * EACH):
        try:
            simulate(ground, seed)
        except Violation as violation:
            pytest.fail(describe(violation))
