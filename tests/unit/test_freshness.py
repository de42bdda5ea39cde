"""When a dataset is fresh, when that is news, and when to look again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controller.diff.freshness import DatasetView, FreshnessPlan, Recorded, diff
from crds.reasons import Reason

NOW = datetime(2026, 3, 2, 8, 0, 0, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
CREATED = NOW - 10 * HOUR
JUST_NOW, LONG_AGO = NOW - MINUTE, NOW - 2 * HOUR

FRESH, STALE = Recorded(HOUR, fresh=True, turns=4), Recorded(HOUR, fresh=False, turns=5)
SINCE_LONG = "no task has committed to it for 1h, since 2026-03-02T06:00:00Z"
NEVER = "no task has committed to it for 1h, since it was created at 2026-03-01T22:00:00Z"
COMMITTED = "a task committed to it at 2026-03-02T07:59:00Z"


def view(updated: datetime | None, recorded: Recorded | None, within: timedelta | None = HOUR) -> DatasetView:
    return DatasetView(within, CREATED, updated, recorded)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(view(JUST_NOW, None, None), FreshnessPlan(), id="it says nothing"),
        pytest.param(
            view(JUST_NOW, None),
            FreshnessPlan(Recorded(HOUR, fresh=True, turns=0), wake_at=JUST_NOW + HOUR),
            id="first look, fresh: that is how it should be, and no news",
        ),
        pytest.param(
            view(LONG_AGO, None),
            FreshnessPlan(Recorded(HOUR, fresh=False, turns=1), Reason.STALE, SINCE_LONG),
            id="first look, stale",
        ),
        pytest.param(
            view(None, None),
            FreshnessPlan(Recorded(HOUR, fresh=False, turns=1), Reason.STALE, NEVER),
            id="never written counts from its creation",
        ),
        pytest.param(view(JUST_NOW, FRESH), FreshnessPlan(wake_at=JUST_NOW + HOUR), id="still fresh"),
        pytest.param(view(NOW - HOUR, FRESH), FreshnessPlan(wake_at=NOW), id="fresh at its limit"),
        pytest.param(
            view(LONG_AGO, FRESH),
            FreshnessPlan(Recorded(HOUR, fresh=False, turns=5), Reason.STALE, SINCE_LONG),
            id="turns stale",
        ),
        pytest.param(view(LONG_AGO, STALE), FreshnessPlan(), id="still stale"),
        pytest.param(
            view(JUST_NOW, STALE),
            FreshnessPlan(Recorded(HOUR, fresh=True, turns=6), Reason.FRESH, COMMITTED, JUST_NOW + HOUR),
            id="turns fresh",
        ),
        pytest.param(
            view(LONG_AGO, STALE, 3 * HOUR),
            FreshnessPlan(
                Recorded(3 * HOUR, fresh=True, turns=6),
                Reason.FRESH,
                "a task committed to it at 2026-03-02T06:00:00Z",
                LONG_AGO + 3 * HOUR,
            ),
            id="it may be older than before",
        ),
        pytest.param(
            view(LONG_AGO, STALE, None),
            FreshnessPlan(Recorded(None, fresh=True, turns=5)),
            id="no longer asked for: no turn",
        ),
        pytest.param(view(LONG_AGO, Recorded(None, fresh=True, turns=5), None), FreshnessPlan(), id="said already"),
    ],
)
def test_diff(seen: DatasetView, expected: FreshnessPlan) -> None:
    assert diff(seen, NOW) == expected


@pytest.mark.parametrize("seen", [view(JUST_NOW, None), view(LONG_AGO, None), view(JUST_NOW, STALE), view(None, FRESH)])
def test_what_was_recorded_is_not_recorded_again(seen: DatasetView) -> None:
    recorded = diff(seen, NOW).record
    again = diff(view(seen.updated_at, recorded), NOW)
    assert (again.record, again.turned) == (None, None)
