"""The polars runtime: SQL over named inputs, or a function of LazyFrames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from workers.operators.entrypoint import call, load
from workers.task import TaskFailed

if TYPE_CHECKING:
    from crds.dag import PolarsTask
    from workers.operators.work import Work


def run(work: Work, task: PolarsTask) -> None:
    """Write what the SQL or the function returns into the task's outputs."""
    if task.with_.function is not None:
        result = _function(work, task.with_.function)
    else:
        result = _query(work, task.with_.sql or _read(work, task.with_.file or ""))
    for alias, frame in _by_alias(work, result).items():
        work.outputs.write(alias, frame)
    work.context.outputs.update(_rows(work.outputs.rows))


def _query(work: Work, query: str) -> pl.LazyFrame:
    frames: dict[str, pl.LazyFrame] = {}
    for alias, value in work.inputs.items():
        if not isinstance(value, pl.LazyFrame):
            raise TaskFailed("InputNotTable", f"input {alias} is a task's value; SQL reads datasets, use a function")
        frames[alias] = value
    try:
        result: pl.LazyFrame = pl.SQLContext(frames, eager=False).execute(query)
        # Names are resolved only now.
        result.collect_schema()
    except (
        pl.exceptions.SQLInterfaceError,
        pl.exceptions.SQLSyntaxError,
        pl.exceptions.ColumnNotFoundError,
    ) as error:
        tables = ", ".join(frames) or "none"
        raise TaskFailed("SqlError", f"{error} (tables: {tables})") from error
    return result


def _read(work: Work, file: str) -> str:
    bundle = work.services.bundle
    path = None if bundle is None else (bundle / file).resolve()
    if bundle is None or path is None or not path.is_relative_to(bundle.resolve()) or not path.is_file():
        raise TaskFailed("FileNotFound", f"there is no file {file} in the DAG's folder")
    return path.read_text(encoding="utf-8")


def _function(work: Work, entrypoint: str) -> Any:
    function = load(entrypoint, work.services.bundle)
    offered = {"ctx": work.context, "params": work.context.params}
    return call(function, offered, {**work.inputs, **work.context.args})


def _by_alias(work: Work, result: Any) -> dict[str, pl.LazyFrame | pl.DataFrame]:
    named = result if isinstance(result, dict) else {work.outputs.only(): result}
    for alias, frame in named.items():
        if not isinstance(frame, pl.LazyFrame | pl.DataFrame):
            raise TaskFailed(
                "ResultNotFrame",
                f"output {alias}: got {type(frame).__name__}, wanted a polars LazyFrame or DataFrame",
            )
    return named


def _rows(rows: dict[str, int]) -> dict[str, Any]:
    return {"rows": next(iter(rows.values()))} if len(rows) == 1 else {"rows": dict(rows)}
