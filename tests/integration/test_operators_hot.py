"""The operators against a real Postgres: rows go through the fence exactly, and nothing else is ever seen."""

from __future__ import annotations

import os
import signal
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg
import pytest
from operators_world import World, create_world

from controller.local.postgres import temporary_server
from crds.protocol import DatasetWrite
from workers import operators
from workers.data.hot import HotData
from workers.task import StaleFence, TaskFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


EVERY_TYPE = {
    "tier": "hot",
    "columns": [
        {"name": "flag", "type": "boolean"},
        {"name": "small", "type": "int32"},
        {"name": "big", "type": "int64"},
        {"name": "ratio", "type": "float64"},
        {"name": "text", "type": "string"},
        {"name": "day", "type": "date"},
        {"name": "moment", "type": "timestamp"},
        {"name": "document", "type": "json"},
    ],
}
PAIRS: dict[str, Any] = {
    "tier": "hot",
    "columns": [{"name": "k", "type": "int64", "nullable": False}, {"name": "v", "type": "string"}],
    "uniqueKey": ["k"],
}
PYTHON = {"runtime": "python", "with": {"entrypoint": "job:main"}}


@pytest.fixture
def world(database: Any, tmp_path: Path) -> World:
    return World(database.name, database.superuser_conninfo, database.worker_conninfo, tmp_path)


def test_every_value_survives_the_way_in_and_out(world: World) -> None:
    # COPY's CSV and the reader's CSV disagree on nulls, empty text and `\.` unless both are told.
    texts = ["", None, 'a "quoted", text', "two\nlines", "\\.", "\\N", "é😀", "NULL", "  ", "\r\n", "=", "1"]
    count = len(texts)
    frame = pl.DataFrame(
        {
            "flag": [True, False, None] * 4,
            "small": [-(2**31), 2**31 - 1, None] * 4,
            "big": [-(2**63), 2**63 - 1, None, 0] * 3,
            "ratio": [0.1, float("nan"), float("inf"), float("-inf"), None, 1e-300] * 2,
            "text": texts,
            "day": [date(1, 1, 1), date(9999, 12, 31), None, date(2013, 1, 1)] * 3,
            "moment": [
                datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
                None,
                datetime(2013, 7, 1, tzinfo=UTC),
            ]
            * 4,
            "document": ['{"a": [1, null, "x\\"y"]}', None, '"text"', "3"] * 3,
        },
        schema_overrides={"small": pl.Int32},
    )
    source = world.dataset("types", EVERY_TYPE)
    world.dataset("copies", EVERY_TYPE)
    store = world.grant(PYTHON, outputs={"out": ("types", "append")})
    with operators.open_work(store, world.services()) as work:
        work.outputs.write("out", frame)
        assert work.outputs.commit({}, None).committed

    copy = {"runtime": "polars", "with": {"sql": "SELECT * FROM source"}}
    granted = world.grant(copy, inputs={"source": source}, outputs={"out": ("copies", "append")})
    with operators.open_work(granted, world.services()) as work:
        read = work.inputs["source"].collect()
    assert read.drop("document").equals(frame.drop("document"), null_equal=True)
    assert operators.run(granted, world.services()).outputs == {"rows": count}
    assert world.rows("SELECT count(*) FROM (TABLE hot.types EXCEPT ALL TABLE hot.copies) x") == [(0,)]
    assert world.rows("SELECT count(*) FROM hot.copies WHERE text IS NULL") == [(1,)]
    assert world.rows("SELECT count(*) FROM hot.copies WHERE text = ''") == [(1,)]


@pytest.mark.parametrize("values", [[None, 1, None], ["", None, "\\.", None]], ids=["numbers", "texts"])
def test_a_table_of_one_column_keeps_its_nulls(world: World, values: list[Any]) -> None:
    kind = "int64" if 1 in values else "string"
    source = world.dataset("single", {"tier": "hot", "columns": [{"name": "x", "type": kind}]})
    with operators.open_work(world.grant(PYTHON, outputs={"out": ("single", "append")}), world.services()) as work:
        work.outputs.write("out", pl.DataFrame({"x": values}))
        work.outputs.commit({}, None)
    with operators.open_work(world.grant(PYTHON, inputs={"in_": source}), world.services()) as work:
        assert work.inputs["in_"].collect().to_series().to_list() == values


def test_merge_replace_and_append(world: World) -> None:
    world.dataset("pairs", PAIRS)

    def write(mode: str, rows: dict[int, str]) -> None:
        grant = world.grant(PYTHON, outputs={"out": ("pairs", mode)})
        with operators.open_work(grant, world.services()) as work:
            work.context.write("out", [{"k": k, "v": v} for k, v in rows.items()])
            work.outputs.commit({}, None)

    write("append", {1: "a", 2: "b"})
    write("merge", {2: "B", 3: "c"})
    assert world.rows("SELECT k, v FROM hot.pairs ORDER BY k") == [(1, "a"), (2, "B"), (3, "c")]
    with pytest.raises(TaskFailed, match="k") as failure:
        write("append", {3: "again"})
    assert failure.value.kind == "DuplicateKey"
    write("replace", {9: "z"})
    assert world.rows("SELECT k, v FROM hot.pairs ORDER BY k") == [(9, "z")]
    write("replace", {})
    assert world.rows("SELECT k, v FROM hot.pairs ORDER BY k") == []


@pytest.mark.parametrize(
    ("rows", "kind", "named"),
    [
        pytest.param([{"k": 1, "v": "a"}, {"k": 1, "v": "b"}], "DuplicateKey", r"\(1\) 2 times", id="duplicate key"),
        pytest.param([{"k": None, "v": "a"}], "NullViolation", "column k", id="null in a required column"),
        pytest.param([{"k": "x", "v": "a"}], "SchemaMismatch", "column k .*'x'", id="wrong type"),
        pytest.param([{"k": 1, "w": "a"}], "SchemaMismatch", "not declared w", id="undeclared column"),
        pytest.param([{"k": 1, "v": "a\0b"}], "NulCharacter", "column v", id="NUL character"),
    ],
)
def test_rows_that_do_not_fit_are_refused(world: World, rows: list[dict[str, Any]], kind: str, named: str) -> None:
    world.dataset("pairs", PAIRS)
    grant = world.grant(PYTHON, outputs={"out": ("pairs", "merge")})

    def write() -> None:
        with operators.open_work(grant, world.services()) as work:
            work.context.write("out", rows)
            work.outputs.commit({}, None)

    with pytest.raises(TaskFailed, match=named) as failure:
        write()
    assert failure.value.kind == kind
    assert world.rows("SELECT * FROM hot.pairs") == []


def test_a_superseded_attempt_writes_nothing(world: World) -> None:
    world.dataset("pairs", PAIRS)
    grant = world.grant(PYTHON, outputs={"out": ("pairs", "append")})
    with operators.open_work(grant, world.services()) as work:
        work.context.write("out", [{"k": 1, "v": "a"}])
        world.execute("UPDATE setpoint.attempt SET phase = 'Lost', ended_at = now()")
        with pytest.raises(StaleFence):
            work.outputs.commit({}, None)
    assert world.rows("SELECT * FROM hot.pairs") == []
    with operators.open_work(grant, world.services()) as work, pytest.raises(StaleFence):
        work.context.write("out", [{"k": 1, "v": "a"}])


def test_hot_and_cold_become_visible_together(world: World) -> None:
    world.dataset("pairs", PAIRS)
    world.dataset("archive", {**PAIRS, "tier": "cold", "uniqueKey": [], "partitionBy": ["v"]})
    outputs = {"hot": ("pairs", "append"), "cold": ("archive", "append")}
    with operators.open_work(world.grant(PYTHON, outputs=outputs), world.services()) as work:
        for alias in outputs:
            work.context.write(alias, [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}])
        assert world.rows("SELECT * FROM setpoint.manifest_file") == []
        result = work.outputs.commit({"done": True}, {"since": 3})
    assert result.committed
    assert result.writes == []
    assert world.rows("SELECT partition, rows FROM setpoint.manifest_file ORDER BY 1") == [
        ("v=a", 1),
        ("v=b", 1),
    ]
    assert world.rows("SELECT count(*) FROM hot.pairs") == [(2,)]
    committed = world.rows("SELECT phase, outputs, bookmark FROM setpoint.attempt")
    assert committed == [("Committed", {"done": True}, {"since": 3})]


def test_a_commit_whose_answer_was_lost_is_repeated_harmlessly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.dataset("pairs", PAIRS)
    grant = world.grant(PYTHON, outputs={"out": ("pairs", "append")})
    with operators.open_work(grant, world.services()) as work:
        work.context.write("out", [{"k": 1, "v": "a"}])
        work.outputs.commit({}, None)
        again = DatasetWrite(dataset="pairs", uid="ds-pairs", mode="append", rows=1, stage="stage.s_gone")
        hot = HotData(world.worker, grant.attempt, grant.token)
        monkeypatch.setattr(hot, "connect", lost_once(hot.connect))
        hot.commit({}, None, [again])
        hot.close()
    assert world.rows("SELECT * FROM hot.pairs") == [(1, "a")]


def lost_once(connect: Callable[[], psycopg.Connection]) -> Callable[[], psycopg.Connection]:
    """Return `connect` that finds the server away the first time."""
    away = iter([True])

    def connecting() -> psycopg.Connection:
        if next(away, False):
            raise psycopg.OperationalError("the connection is lost")
        return connect()

    return connecting


def test_a_commit_goes_on_over_a_new_connection(world: World) -> None:
    world.dataset("pairs", PAIRS)
    grant = world.grant(PYTHON, outputs={"out": ("pairs", "append")})
    with operators.open_work(grant, world.services()) as work:
        work.context.write("out", [{"k": 1, "v": "a"}])
        writes = [sink.finish() for sink in work.outputs._sinks.values()]
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND datname = %s"
        world.execute(end, ("test_worker", world.name))
        work.outputs._hot.commit({}, None, writes)
    assert world.rows("SELECT * FROM hot.pairs") == [(1, "a")]


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[World]:
    # Without synchronous commits, a crash would take the attempt itself along.
    with temporary_server(durable=True) as server:
        yield create_world(server, "durable", tmp_path)


def test_rows_that_a_crash_of_the_server_swept_away_are_missed(durable: World) -> None:
    world = durable
    world.dataset("pairs", PAIRS)
    grant = world.grant(PYTHON, outputs={"out": ("pairs", "replace")})
    with operators.open_work(grant, world.services()) as work:
        work.context.write("out", [{"k": 1, "v": "a"}])
        writes = [sink.finish() for sink in work.outputs._sinks.values()]
        # A backend that dies makes the server restart, which empties unlogged tables.
        with psycopg.connect(world.admin) as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            work.outputs._hot.connect().execute("SELECT pg_sleep(60)")
        with pytest.raises(TaskFailed) as failure:
            work.outputs._hot.commit({}, None, writes)
    assert (failure.value.kind, failure.value.reason) == ("StagedRowsLost", "InfrastructureError")


def test_a_pool_without_a_login_says_so(world: World) -> None:
    world.dataset("pairs", PAIRS)
    grant = world.grant(PYTHON, outputs={"out": ("pairs", "append")})
    with operators.open_work(grant, world.services(hot=False)) as work, pytest.raises(TaskFailed) as failure:
        work.context.write("out", [{"k": 1, "v": "a"}])
    assert failure.value.kind == "HotDataNotGranted"


def test_a_query_on_another_postgres_becomes_rows(world: World) -> None:
    world.execute("CREATE TABLE public.people (k bigint, v text, secret text)")
    world.execute("INSERT INTO public.people VALUES (1, 'O''Hara', 'x'), (2, NULL, 'y'), (3, 'c', 'z')")
    world.dataset("pairs", PAIRS)
    world.secrets["prod/people"] = world.admin
    query = "SELECT k, v, 5 % 3 AS more FROM public.people WHERE v = ${params.name} OR k = ${params.k};"
    task = {
        "runtime": "ingest",
        "secrets": {"dsn": "prod/people"},
        "with": {"postgres": {"secret": "dsn", "query": query}},
    }
    params = {"name": "O'Hara", "k": 2}
    result = operators.run(world.grant(task, outputs={"out": ("pairs", "merge")}, params=params), world.services())
    assert (result.committed, result.outputs) == (True, {"rows": 2})
    assert world.rows("SELECT k, v FROM hot.pairs ORDER BY k") == [(1, "O'Hara"), (2, None)]


def test_an_error_of_the_source_database_keeps_its_password(world: World) -> None:
    world.dataset("pairs", PAIRS)
    world.secrets["prod/people"] = "host=127.0.0.1 port=1 user=me password=hunter2secret"
    task = {
        "runtime": "ingest",
        "secrets": {"dsn": "prod/people"},
        "with": {"postgres": {"secret": "dsn", "query": "SELECT 1 AS k, 'a' AS v"}},
    }
    grant = world.grant(task, outputs={"out": ("pairs", "merge")})
    with pytest.raises(TaskFailed) as failure:
        operators.run(grant, world.services())
    assert failure.value.kind == "DatabaseUnavailable"
    assert "hunter2secret" not in str(failure.value)
