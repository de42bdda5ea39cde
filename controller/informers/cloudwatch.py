"""Publish to CloudWatch what autoscaling and alarms go by; only the leader does, so that nothing is counted twice."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from controller.runtime import emf
from controller.runtime.background import Background
from controller.store import figures, pools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from psycopg_pool import ConnectionPool

    from controller.runtime.clock import Clock

log = structlog.get_logger()
PUBLISH_EVERY = 15.0
DEMAND_LIMIT = 100_000
"""Up to how many ready tasks are counted as demand."""
OVERDUE = timedelta(minutes=10)
"""How long a deadline may lie in the past before that is an invariant broken, and not an outage just over."""


class Publisher(Background):
    """One thread that writes lines of Embedded Metric Format."""

    def __init__(
        self,
        database: ConnectionPool,
        clock: Clock,
        environment: str,
        leads: Callable[[], bool],
        write: Callable[[bytes], object],
    ) -> None:
        super().__init__("cloudwatch")
        self._database = database
        self._clock = clock
        self._environment = environment
        self._leads = leads
        self._write = write
        self._since: datetime | None = None

    def run(self) -> None:
        """Publish every PUBLISH_EVERY seconds."""
        while not self.stopping.wait(PUBLISH_EVERY):
            if not self._leads():
                # What others counted meanwhile is theirs.
                self._since = None
                continue
            try:
                for line in self.lines():
                    self._write(line)
            except (psycopg.Error, PoolTimeout) as error:
                log.warning("cannot publish metrics; trying again", error=str(error).strip())

    def lines(self) -> list[bytes]:
        """Return what there is to say now; counts are of what happened since the last time."""
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            since = self._since or now
            found = [self._system(connection, since, now), *self._pools(connection, since, now)]
        self._since = now
        return found

    def _system(self, connection: psycopg.Connection, since: datetime, now: datetime) -> bytes:
        broken = figures.violations(connection, now, OVERDUE)
        if broken.total:
            log.error("an invariant is broken", violations=str(broken))
        values = {
            "setpoint_leader": 1,
            "setpoint_runs_failed": figures.failed_runs(connection, since, now),
            "setpoint_invariant_violations": broken.total,
        }
        return emf.line(emf.SYSTEM_METRICS, {"env": self._environment}, values, now)

    def _pools(self, connection: psycopg.Connection, since: datetime, now: datetime) -> Iterator[bytes]:
        seen = figures.pools(connection)
        given_up = figures.undeliverable(connection, since, now)
        for uid, pool in pools.read(connection).items():
            if uid not in seen:
                continue
            demand, service = pools.demand(connection, uid, DEMAND_LIMIT), seen[uid]
            values = {
                "setpoint_pool_demand": demand,
                "setpoint_pool_desired_tasks": service.desired,
                "setpoint_pool_running_tasks": service.running,
                "setpoint_pool_max_tasks": pool.spec.max_tasks,
                "setpoint_pool_utilization": emf.utilization(demand, service.desired, pool.spec.slots),
                "setpoint_queue_visible": service.visible,
                "setpoint_queue_in_flight": service.in_flight,
                "setpoint_queue_dead_letters": service.dead_letters,
                "setpoint_attempts_undeliverable": given_up.get(uid, 0),
            }
            yield emf.line(emf.POOL_METRICS, {"env": self._environment, "pool": pool.service}, values, now)
