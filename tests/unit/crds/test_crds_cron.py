"""Ticks of cron lines, also where clocks change."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crds.cron import CronError, check_cron, check_timezone, next_tick, ticks

BERLIN, NEW_YORK, LONDON = "Europe/Berlin", "America/New_York", "Europe/London"
SYDNEY, SANTIAGO, LORD_HOWE = "Australia/Sydney", "America/Santiago", "Australia/Lord_Howe"


def day(cron: str, zone: str, date: str, start: str = "00:00", hours: int = 24) -> list[str]:
    """Return the ticks of the hours after a local time, as local times with their offset."""
    after = datetime.fromisoformat(f"{date}T{start}").replace(tzinfo=ZoneInfo(zone)) - timedelta(seconds=1)
    found = ticks(cron, zone, after, after.astimezone(UTC) + timedelta(hours=hours), 100)
    return [tick.astimezone(ZoneInfo(zone)).strftime("%H:%M%z") for tick in found]


@pytest.mark.parametrize(
    ("cron", "zone", "date", "expected"),
    [
        # The skipped hour: the fixed tick comes when the gap ends.
        pytest.param("30 2 * * *", BERLIN, "2026-03-29", ["03:00+0200"], id="berlin spring"),
        pytest.param("30 2 * * *", NEW_YORK, "2026-03-08", ["03:00-0400"], id="new york spring"),
        pytest.param("30 1 * * *", LONDON, "2026-03-29", ["02:00+0100"], id="london spring"),
        pytest.param("30 2 * * *", SYDNEY, "2026-10-04", ["03:00+1100"], id="sydney spring"),
        pytest.param(
            "30 0 * * *", SANTIAGO, "2026-09-06", ["01:00-0300", "00:30-0300"], id="santiago spring, and the day after"
        ),
        pytest.param("15 2 * * *", LORD_HOWE, "2026-10-04", ["02:30+1100"], id="lord howe spring, half an hour"),
        # The repeated hour: the fixed tick comes once, the first time.
        pytest.param("30 2 * * *", BERLIN, "2026-10-25", ["02:30+0200"], id="berlin autumn"),
        pytest.param("30 1 * * *", NEW_YORK, "2026-11-01", ["01:30-0400"], id="new york autumn"),
        pytest.param("30 1 * * *", LONDON, "2026-10-25", ["01:30+0100"], id="london autumn"),
        pytest.param("30 2 * * *", SYDNEY, "2026-04-05", ["02:30+1100"], id="sydney autumn"),
        pytest.param("30 23 * * *", SANTIAGO, "2026-04-04", ["23:30-0300"], id="santiago autumn, before midnight"),
        pytest.param("45 1 * * *", LORD_HOWE, "2026-04-05", ["01:45+1100"], id="lord howe autumn, half an hour"),
    ],
)
@pytest.mark.pain("T20")
def test_fixed_times_when_clocks_change(cron: str, zone: str, date: str, expected: list[str]) -> None:
    assert day(cron, zone, date) == expected


@pytest.mark.parametrize(
    ("cron", "zone", "date", "start", "expected"),
    [
        pytest.param("0 * * * *", BERLIN, "2026-03-29", "01:00", ["01:00+0100", "03:00+0200", "04:00+0200"],
                     id="berlin spring"),
        pytest.param("0 * * * *", NEW_YORK, "2026-03-08", "01:00", ["01:00-0500", "03:00-0400", "04:00-0400"],
                     id="new york spring"),
        pytest.param("0 * * * *", LONDON, "2026-03-29", "00:00", ["00:00+0000", "02:00+0100", "03:00+0100"],
                     id="london spring"),
        pytest.param("0 * * * *", SYDNEY, "2026-10-04", "01:00", ["01:00+1000", "03:00+1100", "04:00+1100"],
                     id="sydney spring"),
        pytest.param("0 * * * *", SANTIAGO, "2026-09-05", "23:00", ["23:00-0400", "01:00-0300", "02:00-0300"],
                     id="santiago spring"),
        pytest.param("0 * * * *", LORD_HOWE, "2026-10-04", "01:00", ["01:00+1030", "03:00+1100", "04:00+1100"],
                     id="lord howe spring"),
        pytest.param("0 * * * *", BERLIN, "2026-10-25", "01:00", ["01:00+0200", "02:00+0200", "02:00+0100"],
                     id="berlin autumn"),
        pytest.param("0 * * * *", NEW_YORK, "2026-11-01", "00:00", ["00:00-0400", "01:00-0400", "01:00-0500"],
                     id="new york autumn"),
        pytest.param("0 * * * *", LONDON, "2026-10-25", "00:00", ["00:00+0100", "01:00+0100", "01:00+0000"],
                     id="london autumn"),
        pytest.param("0 * * * *", SYDNEY, "2026-04-05", "01:00", ["01:00+1100", "02:00+1100", "02:00+1000"],
                     id="sydney autumn"),
        pytest.param("0 * * * *", SANTIAGO, "2026-04-04", "22:00", ["22:00-0300", "23:00-0300", "23:00-0400"],
                     id="santiago autumn"),
        pytest.param("*/30 * * * *", LORD_HOWE, "2026-04-05", "01:00",
                     ["01:00+1100", "01:30+1100", "01:30+1030", "02:00+1030", "02:30+1030", "03:00+1030"],
                     id="lord howe autumn"),
    ],
)  # fmt: skip
@pytest.mark.pain("T20")
def test_wall_clock_times_when_clocks_change(cron: str, zone: str, date: str, start: str, expected: list[str]) -> None:
    assert day(cron, zone, date, start, hours=3) == expected


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        pytest.param("0 5 * * *", "2026-01-01T05:00", "2026-01-02T05:00", id="strictly later"),
        pytest.param("0 5 * * *", "2026-01-01T04:59:59.5", "2026-01-01T05:00", id="fraction of a second"),
        pytest.param("@hourly", "2026-01-01T04:30", "2026-01-01T05:00", id="@hourly"),
        pytest.param("@daily", "2026-01-01T04:30", "2026-01-02T00:00", id="@daily"),
        pytest.param("@weekly", "2026-01-01T00:00", "2026-01-04T00:00", id="@weekly, on Sunday"),
        pytest.param("@monthly", "2026-01-01T00:00", "2026-02-01T00:00", id="@monthly"),
        pytest.param("@yearly", "2026-01-01T00:00", "2027-01-01T00:00", id="@yearly"),
        pytest.param("0 0 29 2 *", "2026-01-01T00:00", "2028-02-29T00:00", id="leap day"),
        pytest.param("0 0 L * *", "2026-02-01T00:00", "2026-02-28T00:00", id="last day of a month"),
        pytest.param("0 9 * * MON-FRI", "2026-01-02T09:00", "2026-01-05T09:00", id="weekdays"),
        pytest.param("0 0 13 * FRI", "2026-01-03T00:00", "2026-01-09T00:00", id="either day field"),
        pytest.param("0 0 * * MON#2", "2026-01-01T00:00", "2026-01-12T00:00", id="second Monday"),
    ],
)
def test_next_tick(cron: str, after: str, expected: str) -> None:
    found = next_tick(cron, "UTC", datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        pytest.param("", "must have five fields", id="empty"),
        pytest.param("* * * *", "must have five fields", id="four fields"),
        pytest.param("* * * * * *", "must have five fields", id="six fields"),
        pytest.param("60 * * * *", "bad minute field", id="minute"),
        pytest.param("0 24 * * *", "bad hour field", id="hour"),
        pytest.param("0 0 0 * *", "bad day-of-month field", id="day of month"),
        pytest.param("0 0 * 13 *", "bad month field", id="month"),
        pytest.param("0 0 * * 8", "bad day-of-week field", id="day of week"),
        pytest.param("0 0 31 2 *", "bad day-of-month field", id="a day that never comes"),
        pytest.param("0 0 * * MON#2/2", "bad day-of-week field", id="step of a numbered weekday"),
        pytest.param("@fortnightly", "is none of @hourly", id="unknown shortcut"),
    ],
)
def test_bad_lines(cron: str, message: str) -> None:
    with pytest.raises(CronError, match=message):
        check_cron(cron)


fields = st.text(alphabet="0123456789*/-,#LWMONTUEJA?²@ ", max_size=8)


@given(st.lists(fields, min_size=5, max_size=5).map(" ".join) | st.text(max_size=20))
@settings(deadline=None, max_examples=500)
def test_any_line_is_good_or_refused(cron: str) -> None:
    with suppress(CronError):
        check_cron(cron)


@pytest.mark.parametrize("zone", ["Europe/Berln", "", "../etc/passwd", "Europe", "CEST"])
def test_bad_zones(zone: str) -> None:
    with pytest.raises(CronError, match="is no IANA time zone"):
        check_timezone(zone)


def test_ticks_are_bounded() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert len(ticks("* * * * *", "UTC", start, start + timedelta(days=9), 7)) == 7
    assert ticks("0 0 1 1 *", "UTC", start, start + timedelta(days=9), 7) == []
    assert ticks("0 0 2 1 *", "UTC", start, start + timedelta(days=1), 7) == [start + timedelta(days=1)]


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        next_tick("* * * * *", "UTC", datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused


@given(
    cron=st.sampled_from(
        ["30 2 * * *", "0,30 1-3 * * *", "*/15 * * * *", "0 * * * *", "5 * * * SUN", "30 1 1-7 * SUN"]
    ),
    zone=st.sampled_from([BERLIN, NEW_YORK, LONDON, SYDNEY, SANTIAGO, "UTC"]),
    start=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis asks for naive bounds
    later=st.integers(0, 48 * 60),
)
@settings(deadline=None, max_examples=300)
def test_ticks_do_not_depend_on_where_the_search_starts(cron: str, zone: str, start: datetime, later: int) -> None:
    middle, end = start + timedelta(minutes=later), start + timedelta(days=4)
    whole = ticks(cron, zone, start, end, 1_000)
    assert whole == sorted(set(whole))
    assert [tick for tick in whole if tick > middle] == ticks(cron, zone, middle, end, 1_000)
