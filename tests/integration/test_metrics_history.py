"""A sample of the fleet costs no more as history grows: by the work of the plans that really ran, not by time."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest
from prometheus_client import CollectorRegistry

from controller.informers.sampler import Sampler
from controller.runtime import metrics
from crds.instruments import Fleet, Instruments
from tests.conftest import new_database
from tests.integration import old_rows, plan_recorder
from tests.integration.core_parts import START, dag, pool, task
from tests.integration.core_world import World
from tests.integration.plan_recorder import PlanRecorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg_pool import ConnectionPool

    from controller.local.postgres import Server

FINISHED = 100_000
GROWING = frozenset({"run", "task_run", "attempt", "event", "worker", "notification"})
"""Tables that hold history; none of them may be read whole."""
LOOKS = 6
"""As often as makes the driver prepare the statements, and Postgres think of generic plans."""


@contextmanager
def sampled(postgres: Server, template: str, finished: int) -> Iterator[PlanRecorder]:
    """Give what was told of samples above so many finished tasks, with a run that lives."""
    with new_database(postgres, template) as database:
        if not plan_recorder.available(database):
            pytest.skip("this Postgres has no auto_explain; install its contrib package")
        first = World(database)
        first.apply(pool("python"), dag("d", *(task(f"t{n}") for n in range(12))))
        first.close()
        if finished:
            old_rows.fill(database, finished, dag="d", pool="python", before=START - timedelta(days=1))
        plan_recorder.prepare(database)
        world = World(database)
        # Uids grow, so that what is new sorts behind all that is old.
        world.ids.last = 2**60
        world.trigger("d")
        world.settle(check=False)
        world.claim(3)
        recorder = PlanRecorder().watch(world.database._connection)
        instruments = Instruments(CollectorRegistry())
        instruments.declared = [one for one in metrics.INSTRUMENTS.declared if one.fleet]
        sampler = Sampler(cast("ConnectionPool", world.database), world.clock, lambda: True, Fleet(instruments))
        for _ in range(LOOKS):
            sampler.look()
        yield recorder
        world.close()


@pytest.mark.timeout(600)
def test_a_sample_reads_what_lives(postgres: Server, template: str) -> None:
    with sampled(postgres, template, 0) as few:
        empty = few.worst
    with sampled(postgres, template, FINISHED) as many:
        full = many.worst
    assert full
    assert not {text: work for text, work in full.items() if work.scanned & GROWING}
    assert not {
        text: (empty[text], work)
        for text, work in full.items()
        if text in empty and work.examined > 1.2 * empty[text].examined + 10
    }
