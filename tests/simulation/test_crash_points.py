"""A controller, or a worker, dies at every point between two effects; whatever was asked for still happens, in bounded time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.simulation.scenarios import SCENARIOS, Scenario
from tests.simulation.schedule import simulate

if TYPE_CHECKING:
    from tests.simulation.ground import Ground

LATER = 130.0
"""How much later, in virtual seconds, all is final in spite of a crash: a message that nobody knows of is missed for a minute,
and its queue has to be seen empty for another one."""
CONTROLLER, WORKER = "A", "w1"


@pytest.mark.parametrize("process", [CONTROLLER, WORKER])
@pytest.mark.parametrize("scenario", [pytest.param(s, id=name) for name, s in SCENARIOS.items()])
def test_a_crash_at_any_point_costs_time_and_never_work(ground: Ground, scenario: Scenario, process: str) -> None:
    calm = simulate(ground, scenario.plan())
    assert calm.seconds <= scenario.within
    points = calm.points[process]
    assert points, f"{process} passes no point"

    for crash_at in range(1, points + 1):
        outcome = simulate(ground, replace(scenario.plan(), crash_in=process, crash_at=crash_at))
        assert any(name.startswith("crash at") for name in outcome.injected), f"no crash at point {crash_at}"
        assert sum(outcome.runs.values()) == sum(calm.runs.values())
        assert outcome.seconds <= calm.seconds + LATER, f"crashed at point {crash_at} of {points}"
