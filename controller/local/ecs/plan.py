"""Decide how a service moves one step closer to its count; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from controller.local.ecs.model import Rollout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.local.ecs.model import Service, Task

# A new task counts as healthy once it has run so long; a release that crashes at once replaces nothing.
STEADY = timedelta(seconds=1)
# A task that ran so long before it died is replaced at once.
SETTLED = timedelta(seconds=3)
_FIRST_BACKOFF = timedelta(milliseconds=500)
_LONGEST_BACKOFF = timedelta(seconds=30)
_MOST_DOUBLINGS = 10
_FEWEST_FAILURES, _MOST_FAILURES = 3, 200


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and when to look again if nothing else happens."""

    start: int = 0
    stop: tuple[Task, ...] = ()
    wake_at: datetime | None = None


def plan(service: Service, tasks: Sequence[Task], now: datetime) -> Plan:
    """Return the next step of a service over its unfinished tasks, oldest first."""
    alive = [task for task in tasks if task.wanted]
    current = [task for task in alive if task.started_by == service.deployment]
    old = [task for task in alive if task.started_by != service.deployment]

    start, retry_at = _starts(service, len(current), len(alive), now)
    stop = (*_surplus(current, service.desired_count, now), *_replaced(service, current, old, now))
    return Plan(start, stop, _wake_at(alive, retry_at, now))


def backoff(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row: nothing after the first."""
    if failures <= 1:
        return timedelta()
    return min(_FIRST_BACKOFF * (1 << min(failures - 2, _MOST_DOUBLINGS)), _LONGEST_BACKOFF)


def gives_up(service: Service) -> bool:
    """Return whether the circuit breaker ends the deployment: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html."""
    breaker = service.configuration.deployment_circuit_breaker
    threshold = max(_FEWEST_FAILURES, min(_MOST_FAILURES, -(-service.desired_count // 2)))
    return breaker.enable and service.rollout is Rollout.IN_PROGRESS and service.failed_tasks >= threshold


def arrived(service: Service, tasks: Sequence[Task], now: datetime) -> bool:
    """Return whether only healthy tasks of the newest deployment are left, as many as are wanted."""
    return len(tasks) == service.desired_count and all(
        task.started_by == service.deployment and task.wanted and task.healthy(now, STEADY) for task in tasks
    )


def _starts(service: Service, current: int, alive: int, now: datetime) -> tuple[int, datetime | None]:
    most = service.desired_count * service.configuration.maximum_percent // 100 - alive
    if service.rollout is Rollout.FAILED:
        return 0, None
    missing = max(0, min(service.desired_count - current, most))
    if missing and service.retry_at is not None and service.retry_at > now:
        return 0, service.retry_at
    return missing, None


def _surplus(current: Sequence[Task], desired: int, now: datetime) -> list[Task]:
    spared = [task for task in current if not task.protected(now)]
    # The youngest go first: they have the least to lose.
    return spared[::-1][: max(0, len(current) - desired)]


def _replaced(service: Service, current: Sequence[Task], old: Sequence[Task], now: datetime) -> list[Task]:
    """Return the old tasks that may go without leaving fewer healthy tasks than desired."""
    running = [task for task in old if task.started_at is not None]
    steady = sum(task.healthy(now, STEADY) for task in current)
    least = -(-service.desired_count * service.configuration.minimum_healthy_percent // 100)
    spared = max(0, len(running) + steady - least)
    pending = [task for task in old if task.started_at is None]
    return [task for task in pending if not task.protected(now)] + [
        task for task in running if not task.protected(now)
    ][:spared]


def _wake_at(alive: Sequence[Task], retry_at: datetime | None, now: datetime) -> datetime | None:
    steady = (task.started_at + STEADY for task in alive if task.started_at is not None)
    protections = (task.protected_until for task in alive if task.protected_until is not None)
    retries = () if retry_at is None else (retry_at,)
    return min((moment for moment in (*steady, *protections, *retries) if moment > now), default=None)
