"""Rows that a user's function yields: dicts, lists of dicts, or polars frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from workers.operators.entrypoint import call, load
from workers.operators.ingest.template import fill
from workers.task import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from workers.data.frames import Row
    from workers.operators.work import Work


def read(work: Work, entrypoint: str, alias: str) -> None:
    """Write everything that the function yields or returns; frames as they come, rows in batches."""
    context = work.context
    args = {name: fill(v, context) if isinstance(v, str) else v for name, v in context.args.items()}
    result = call(load(entrypoint, work.services.bundle), {"ctx": context, "params": context.params}, args)
    work.outputs.write_rows(alias, _rows(work, alias, result, entrypoint))


def _rows(work: Work, alias: str, result: Any, entrypoint: str) -> Iterator[Row]:
    """Yield single rows and write frames on the way."""
    if result is None:
        return
    items: Iterable[Any] = [result] if isinstance(result, dict | pl.DataFrame | pl.LazyFrame) else result
    if isinstance(items, str | bytes) or not hasattr(items, "__iter__"):
        raise _wrong(entrypoint, result)
    for item in items:
        if isinstance(item, pl.DataFrame | pl.LazyFrame):
            work.outputs.write(alias, item)
        elif isinstance(item, dict):
            yield item
        elif isinstance(item, list | tuple):
            yield from item
        else:
            raise _wrong(entrypoint, item)


def _wrong(entrypoint: str, item: Any) -> TaskFailed:
    return TaskFailed(
        "ResultNotRows",
        f"{entrypoint} yielded {type(item).__name__}; yield dicts, lists of dicts or polars frames",
    )
