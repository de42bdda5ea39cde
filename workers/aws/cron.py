"""EventBridge rules tell the dispatcher to look at schedules; whether a tick is due is decided there."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from workers.aws.events import deliver, open_events
from workers.aws.settings import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.aws.events import Events, Invoked

_NAMED = ("namespace", "dag", "schedule")


def handler(event: Mapping[str, Any], context: Invoked) -> None:
    """Bring one tick to the dispatcher."""
    deliver(_events(), tick(event), context)


def tick(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the dispatcher is told: the schedule that a rule's input names, or the platform's own tick."""
    if event.get("type") == "cron":
        return {"type": "cron", **{name: event[name] for name in _NAMED if name in event}}
    if event.get("detail-type") == "Scheduled Event":
        return {"type": "cron"}
    raise ValueError('this is no tick; the rule\'s input is {"type": "cron", "namespace": …, "dag": …, "schedule": …}')


@cache
def _events() -> Events:
    return open_events(read())
