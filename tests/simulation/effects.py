"""What user code did, compared with what the phases say: every task's effect exactly once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, LiteralString

from tests.simulation.workload import COLD, HOT

if TYPE_CHECKING:
    from tests.simulation.snapshot import Snapshot
    from tests.simulation.world import World

_ROWS: LiteralString = "SELECT attempt, count(*) FROM hot.rows GROUP BY attempt"


def check(world: World, found: Snapshot) -> None:
    """Assert that each success left its rows and files once, and nothing else left any."""
    started = world.effects.started
    succeeded: dict[str, list[str]] = {COLD: [], HOT: []}
    for attempt in found.attempts or ():
        if attempt.phase != "Succeeded":
            continue
        assert started[attempt.id] == 1, f"{attempt.id} succeeded, and its code never ran"
        writes = world.writes(attempt)
        if writes is not None:
            succeeded[writes].append(attempt.id)
    files = Counter(f.attempt for f in found.files or ())
    assert files == Counter(succeeded[COLD]), f"files {dict(files)}, successes {succeeded[COLD]}"
    if HOT in world.workload.datasets:
        rows = dict(world.database.ground.eyes.execute(_ROWS).fetchall())
        assert rows == Counter(succeeded[HOT]), f"rows {rows}, successes {succeeded[HOT]}"
