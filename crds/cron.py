"""When a cron line ticks in a time zone.

A line has five fields (minute, hour, day of month, month, day of week; names, lists, ranges, steps, `L`, `#`)
or is one of `@hourly @daily @midnight @weekly @monthly @yearly @annually`. If both day fields are restricted,
either may match, as in Debian's cron.

When clocks change, a line behaves as in Debian's cron:

- minute and hour both fixed (`30 2 * * *`): the tick of a skipped hour comes as soon as the gap ends, and
  the tick of a repeated hour comes once, the first time;
- minute or hour starts with `*` (`*/15 * * * *`): the wall clock decides, so a skipped hour has no ticks and
  a repeated hour has them twice.

Ticks are instants in UTC that only grow, and do not depend on where the search for them started. One
exception is known: where clocks shift by half an hour (Lord Howe Island), `*/2` hours may lose a tick a year.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

_SHORTCUTS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = 5
# What these mean depends on the machine that reads them.
_OF_THE_MACHINE = frozenset({"Factory", "localtime", "posixrules"})
# A repeated hour has at most 120 ticks that lie before the instant from which the search started.
_MAX_STEPS_BACK = 200
# Leap days and rare weekdays come within this many years; the library gives up after 50.
_ANY_INSTANT = datetime(2024, 1, 1, tzinfo=UTC)


class CronError(ValueError):
    """A cron line or a time zone that cannot be used; the text says why."""


def check_cron(cron: str) -> None:
    """Raise CronError if the line is malformed or never ticks."""
    next_tick(cron, "UTC", _ANY_INSTANT)


def check_timezone(timezone: str) -> None:
    """Raise CronError if the time zone is unknown."""
    if timezone not in timezones():
        raise CronError(f'"{timezone}" is no IANA time zone; write it like Europe/Berlin')


@cache
def timezones() -> frozenset[str]:
    """Return the names of all time zones."""
    return frozenset(available_timezones()) - _OF_THE_MACHINE


def next_tick(cron: str, timezone: str, after: datetime) -> datetime:
    """Return the first tick later than `after` (aware), in UTC; raise CronError if there is none."""
    return _first_later(_simulate(cron, timezone, after), cron, after)


def ticks(cron: str, timezone: str, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """Return the first `limit` ticks later than `after` and not later than `until`, in UTC."""
    simulation = _simulate(cron, timezone, after)
    found: list[datetime] = []
    last = after
    while len(found) < limit:
        try:
            last = _first_later(simulation, cron, last)
        except CronError:
            break
        if last > until:
            break
        found.append(last)
    return found


def _first_later(simulation: CronSim, cron: str, after: datetime) -> datetime:
    # At a clock change the library repeats instants and, in a repeated hour, goes back to its first pass.
    for _ in range(_MAX_STEPS_BACK):
        try:
            tick = next(simulation).astimezone(UTC)
        except (StopIteration, OverflowError):
            break
        if tick > after:
            return tick
    raise CronError(f'"{cron}" never ticks')


def _simulate(cron: str, timezone: str, after: datetime) -> CronSim:
    if after.tzinfo is None:
        raise ValueError("a time without a zone has no next tick; pass an aware datetime")
    check_timezone(timezone)
    line = _SHORTCUTS.get(cron.strip().lower(), cron)
    if line.lstrip().startswith("@"):
        raise CronError(f'"{cron}" is none of {", ".join(_SHORTCUTS)}')
    if len(line.split()) != _FIELDS:
        raise CronError(f'"{cron}" must have five fields: minute hour day-of-month month day-of-week')
    local = after.astimezone(UTC if timezone == "UTC" else ZoneInfo(timezone))
    try:
        return CronSim(line, local)
    except CronSimError as error:
        raise CronError(f'"{cron}" has a {str(error).lower()} field') from error
