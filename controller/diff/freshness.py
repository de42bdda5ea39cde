"""Whether a dataset is fresh: what its spec allows, against when a task last committed to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from crds.dataset import Freshness
from crds.quantities import format_duration
from crds.reasons import Reason

if TYPE_CHECKING:
    from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded of a dataset's freshness when it was last looked at; `turns` grows with every change."""

    within: timedelta | None = None
    fresh: bool = True
    turns: int = 0


@dataclass(frozen=True, slots=True)
class DatasetView:
    """A dataset as its freshness is decided."""

    within: timedelta | None
    """How old it may grow; None if it does not say."""
    created_at: datetime
    updated_at: datetime | None
    """When a task last committed to it."""
    recorded: Recorded | None = None


@dataclass(frozen=True, slots=True)
class FreshnessPlan:
    """What is to be recorded, if it is news; whether people are told; and when to look again."""

    record: Recorded | None = None
    turned: Reason | None = None
    message: str = ""
    wake_at: datetime | None = None


def within_of(freshness: object) -> timedelta | None:
    """Return how old a stored spec lets a dataset grow; what cannot be read says nothing."""
    if not isinstance(freshness, dict):
        return None
    try:
        return Freshness.model_validate(freshness, extra="ignore").within
    except ValidationError:
        return None


def fresh_until(within: timedelta, created_at: datetime, updated_at: datetime | None) -> datetime:
    """Return the last moment at which a dataset is fresh; one that was never written counts from its creation."""
    return (updated_at or created_at) + within


def diff(view: DatasetView, now: datetime) -> FreshnessPlan:
    """Return what moves the record of a dataset's freshness to what is true."""
    recorded = view.recorded
    if view.within is None:
        if recorded is None or recorded.within is None:
            return FreshnessPlan()
        # What is no longer asked for has not turned; the count of turns goes on, should it be asked for again.
        return FreshnessPlan(Recorded(None, fresh=True, turns=recorded.turns))
    before = recorded or Recorded()
    until = fresh_until(view.within, view.created_at, view.updated_at)
    fresh = now <= until
    wake_at = until if fresh else None
    if fresh == before.fresh:
        news = Recorded(view.within, fresh, before.turns)
        return FreshnessPlan(news if news != recorded else None, wake_at=wake_at)
    message = _fresh_again(view) if fresh else _stale(view)
    turned = Reason.FRESH if fresh else Reason.STALE
    return FreshnessPlan(Recorded(view.within, fresh, before.turns + 1), turned, message, wake_at)


def _fresh_again(view: DatasetView) -> str:
    return (
        f"a task committed to it at {view.updated_at:%Y-%m-%dT%H:%M:%SZ}" if view.updated_at else "it may be older now"
    )


def _stale(view: DatasetView) -> str:
    span = format_duration(view.within) if view.within is not None else ""
    if view.updated_at is None:
        return f"no task has committed to it for {span}, since it was created at {view.created_at:%Y-%m-%dT%H:%M:%SZ}"
    return f"no task has committed to it for {span}, since {view.updated_at:%Y-%m-%dT%H:%M:%SZ}"
