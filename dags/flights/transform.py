"""The joins and aggregates of the DAG `flights`, as functions of lazy frames."""

from __future__ import annotations

from typing import Any

import polars as pl


def enrich(
    flights: pl.LazyFrame,
    airlines: pl.LazyFrame,
    airports: pl.LazyFrame,
    planes: pl.LazyFrame,
    weather: pl.LazyFrame,
    params: dict[str, Any],
) -> pl.LazyFrame:
    """Return every flight with its airline, destination, aircraft and the weather when it was to leave."""
    date = pl.date("year", "month", "day")
    return (
        flights.join(airlines.select("carrier", airline="name"), on="carrier", how="left")
        .join(airports.select(dest="faa", destination="name"), on="dest", how="left")
        .join(
            planes.select("tailnum", "manufacturer", "model", "seats", built="year"),
            on="tailnum",
            how="left",
        )
        .join(
            weather.select("origin", "time_hour", "temp", "wind_speed", "precip", "visib"),
            on=["origin", "time_hour"],
            how="left",
        )
        .select(
            *("carrier", "airline", "flight", "origin", "dest", "destination"),
            *("dep_delay", "arr_delay", "air_time", "distance"),
            *("manufacturer", "model", "built", "seats"),
            *("temp", "wind_speed", "precip", "visib"),
            month=date.dt.strftime("%Y-%m"),
            date=date,
            scheduled="time_hour",
            late=pl.col("dep_delay") >= params["late"],
        )
    )


def routes(flights: pl.LazyFrame) -> pl.LazyFrame:
    """Return flights, seats and miles by month, route and maker of the aircraft."""
    return flights.group_by("month", "origin", "dest", "manufacturer").agg(
        flights=pl.len(),
        seats=pl.col("seats").cast(pl.Int64).sum(),
        miles=pl.col("distance").cast(pl.Int64).sum(),
        mean_arr_delay=pl.col("arr_delay").mean(),
        mean_wind=pl.col("wind_speed").mean(),
    )
