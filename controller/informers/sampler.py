"""Sample for the metrics what only the database knows; the leader alone does, so that nothing is shown twice."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from controller.informers.conditions import Conditions
from controller.runtime import metrics
from controller.runtime.background import Background
from controller.store import figures, notifications, pools
from crds.cron import CronError, next_tick
from crds.meta import DEFAULT_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg_pool import ConnectionPool

    from controller.runtime.clock import Clock
    from controller.store.figures import ScheduleFigures
    from crds.instruments import Fleet

log = structlog.get_logger()
SAMPLE_EVERY = 15.0
DEMAND_LIMIT = 100_000
"""Up to how many ready tasks are counted as demand."""
OVERDUE = timedelta(minutes=10)
"""How long a deadline may lie in the past before that is an invariant broken, and not an outage just over."""

Sample = dict[str, dict[tuple[str, ...], float]]


class Sampler(Background):
    """One thread that fills the fleet's metrics while this process leads, and empties them when it does not."""

    def __init__(
        self, database: ConnectionPool, clock: Clock, leads: Callable[[], bool], fleet: Fleet = metrics.FLEET
    ) -> None:
        super().__init__("sampler")
        self._database = database
        self._clock = clock
        self._leads = leads
        self._fleet = fleet
        self._conditions = Conditions()
        self.last = 0.0
        """When the last sample was taken, on the monotonic clock; 0 before the first."""

    def run(self) -> None:
        """Sample every SAMPLE_EVERY seconds."""
        wait = 0.5
        while not self.stopping.wait(wait):
            wait = self.look()
        self._fleet.hide()

    def look(self) -> float:
        """Sample if this process leads; return after how many seconds to look again."""
        if not self._leads():
            self._fleet.hide()
            self._conditions.forget()
            return 0.5
        try:
            self._fleet.show(self.sample())
            self.last = self._clock.monotonic()
        except (psycopg.Error, PoolTimeout) as error:
            # What was true a while ago is not shown as if it were now.
            self._fleet.hide()
            log.warning("cannot sample metrics; trying again", error=str(error).strip())
        return SAMPLE_EVERY

    def sample(self) -> Sample:
        """Return every metric of the fleet as it is now."""
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            return {
                **_pools(connection, now),
                **_system(connection, now),
                **self._conditions.sample(connection, now),
            }


def utilization(demand: int, desired: int, slots: int) -> float:
    """Return a pool's demand over what its desired tasks can run at once, which target tracking holds at 1."""
    return demand / (desired * slots) if desired else float(demand)


def _pools(connection: psycopg.Connection, now: datetime) -> Sample:
    seen, live = figures.pools(connection, now), figures.live(connection)
    found: Sample = {}
    for uid, pool in pools.read(connection).items():
        if uid not in seen:
            continue
        service, mine, key = seen[uid], live.get(uid, figures.LiveFigures({})), (pool.service,)
        demand = pools.demand(connection, uid, DEMAND_LIMIT)
        values = {
            metrics.POOL_DEMAND: demand,
            metrics.POOL_DESIRED: service.desired,
            metrics.POOL_RUNNING: service.running,
            metrics.POOL_MAX: pool.spec.max_tasks,
            metrics.POOL_UTILIZATION: utilization(demand, service.desired, pool.spec.slots),
            metrics.POOL_SLOTS: service.running * pool.spec.slots,
            metrics.POOL_BUSY: mine.running,
            metrics.POOL_WORKERS: service.workers,
            metrics.QUEUE_VISIBLE: service.visible,
            metrics.QUEUE_IN_FLIGHT: service.in_flight,
            metrics.QUEUE_DEAD: service.dead_letters,
            metrics.QUEUE_OLDEST: (now - mine.oldest).total_seconds() if mine.oldest else 0.0,
        }
        for name, value in values.items():
            found.setdefault(name, {})[key] = value
        for phase, count in mine.by_phase.items():
            found.setdefault(metrics.ATTEMPTS_LIVE, {})[pool.service, phase] = count
        # A counter that nobody has seen at 0 hides its first event.
        for counter in (metrics.UNDELIVERABLE, metrics.ATTEMPTS_LOST, metrics.STALE_RESULTS):
            counter.labels(pool.service)
    return found


def _system(connection: psycopg.Connection, now: datetime) -> Sample:
    datasets = figures.datasets(connection, now)
    pending, oldest = notifications.backlog(connection, now)
    broken = figures.violations(connection, now, OVERDUE)
    if broken.total:
        log.error("an invariant is broken", violations=str(broken))
    phases = {"Pending": 0, "Running": 0} | figures.unfinished_runs(connection)
    return {
        metrics.RUNS_UNFINISHED: {(phase,): count for phase, count in phases.items()},
        metrics.SCHEDULE_LAG: {(_name(s.namespace, s.dag),): lag(s, now) for s in figures.schedules(connection)},
        metrics.DATASET_AGE: {(_name(d.namespace, d.name),): d.age_seconds for d in datasets},
        metrics.DATASET_STALE: {(_name(d.namespace, d.name),): float(d.stale) for d in datasets},
        metrics.INVARIANT_VIOLATIONS: {
            ("live attempt of an ended run",): broken.of_ended_runs,
            ("live attempt of an idle task",): broken.of_idle_tasks,
            ("deadline that nobody acted on",): broken.overdue,
        },
        metrics.NOTIFICATIONS_PENDING: {(): pending},
        metrics.NOTIFICATIONS_OLDEST: {(): oldest},
    }


def lag(found: ScheduleFigures, now: datetime) -> float:
    """Return the age in seconds of the oldest tick that is due and has become no run; 0 if there is none."""
    oldest = now
    for schedule in found.schedules:
        cursor = found.cursors.get(schedule["name"])
        if cursor is None:
            continue
        try:
            tick = next_tick(schedule["cron"], schedule.get("timezone", "UTC"), datetime.fromisoformat(cursor))
        except CronError:
            # Its Dag's conditions tell; here it would hide all other numbers.
            continue
        oldest = min(oldest, tick)
    return (now - oldest).total_seconds()


def _name(namespace: str, name: str) -> str:
    return name if namespace == DEFAULT_NAMESPACE else f"{namespace}/{name}"
