"""The fence, as a worker's login meets it: what a running attempt commits is all there or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from tests.integration.core_parts import dag, dataset, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crds.protocol import Grant
    from tests.conftest import Database

Row = tuple[Any, ...]


@dataclass
class Fence:
    """A worker's connection."""

    connection: psycopg.Connection

    def stage(self, grant: Grant, rows: Sequence[Row], alias: str = "out", token: str | None = None) -> str:
        """Stage rows (k, v) and return the stage table."""
        found = self.connection.execute(
            "SELECT fence.stage(%s, %s, %s)", (grant.attempt, token or grant.token, grant.outputs[alias].uid)
        ).fetchone()
        assert found is not None
        with self.connection.cursor() as cursor, cursor.copy(f"COPY {found[0]} (k, v) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        self.connection.commit()
        return str(found[0])

    def write(self, grant: Grant, rows: Sequence[Row], alias: str = "out") -> dict[str, Any]:
        """Stage rows and return the write that commits them."""
        ref = grant.outputs[alias]
        return {"dataset": ref.name, "uid": ref.uid, "stage": self.stage(grant, rows, alias), "rows": len(rows)}

    def commit(self, grant: Grant, *writes: dict[str, Any], token: str | None = None, outputs: Any = None) -> str:
        """Commit staged writes and return the answer."""
        values = (grant.attempt, token or grant.token, json.dumps(outputs or {"n": 1}), "null", json.dumps(writes))
        found = self.connection.execute("SELECT fence.commit(%s, %s, %s, %s, %s)", values).fetchone()
        self.connection.commit()
        assert found is not None
        return str(found[0])


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    columns = ("k", "int64"), ("v", "string")
    world.apply(
        pool("python"), dataset("keyed", *columns, tier="hot", uniqueKey=["k"]), dataset("other", *columns, tier="hot")
    )
    for mode in ("append", "merge", "replace"):
        outputs = {"out": {"dataset": "keyed", "mode": mode}, "more": {"dataset": "other", "mode": "append"}}
        world.apply(dag(mode, task("w", outputs=outputs), task("after", ["w"])))
    yield world
    world.close()


@pytest.fixture
def fence(database: Database) -> Iterator[Fence]:
    with database.connect_as_worker() as connection:
        yield Fence(connection)


def claimed(world: World, name: str = "append") -> Grant:
    world.trigger(name)
    world.settle()
    return next(g for g in world.claim() if g.task["name"] == "w")


def rows(world: World, table: str = "keyed") -> list[Row]:
    query = sql.SQL("SELECT k, v FROM hot.{} ORDER BY k, v").format(sql.Identifier(table))
    return world.rows(query)  # type: ignore[arg-type]


def put(world: World, fence: Fence, mode: str, *given: Row) -> None:
    grant = claimed(world, mode)
    fence.commit(grant, fence.write(grant, given))
    world.report(grant)
    world.work()


def test_append_merge_and_replace(world: World, fence: Fence) -> None:
    put(world, fence, "append", (1, "a"), (2, "b"))
    assert rows(world) == [(1, "a"), (2, "b")]
    put(world, fence, "merge", (2, "B"), (3, "c"))
    assert rows(world) == [(1, "a"), (2, "B"), (3, "c")]
    put(world, fence, "replace", (9, "z"))
    assert rows(world) == [(9, "z")]
    put(world, fence, "replace")
    assert rows(world) == []


def test_what_is_staged_is_seen_by_nobody_before_the_commit(world: World, fence: Fence) -> None:
    grant = claimed(world)
    write = fence.write(grant, [(1, "a")])
    assert rows(world) == []
    assert fence.commit(grant, write, outputs={"rows": 1}) == "committed"

    assert rows(world) == [(1, "a")]
    assert world.rows("SELECT phase, outputs FROM attempt") == [("Committed", {"rows": 1})]
    assert world.rows("SELECT name FROM stage_table") == []
    assert world.report(grant) == "recorded"
    world.settle()
    assert world.one("SELECT outputs FROM task_run WHERE task = 'w'") == {"rows": 1}
    assert world.one("SELECT version FROM dataset_state WHERE attempt = %s", grant.attempt) == 1


def test_a_commit_repeated_changes_nothing(world: World, fence: Fence) -> None:
    grant = claimed(world)
    write = fence.write(grant, [(1, "a")])
    assert [fence.commit(grant, write) for _ in range(3)] == ["committed"] * 3
    world.report(grant)
    assert fence.commit(grant, write) == "committed"

    assert rows(world) == [(1, "a")]


def test_two_datasets_are_committed_together_or_not_at_all(world: World, fence: Fence) -> None:
    grant = claimed(world)
    good = fence.write(grant, [(5, "x")], "more")
    bad = fence.write(grant, [(1, "a"), (1, "twice")])
    with pytest.raises(psycopg.errors.UniqueViolation):
        fence.commit(grant, good, bad)
    fence.connection.rollback()
    assert (rows(world), rows(world, "other")) == ([], [])
    assert world.rows("SELECT phase FROM attempt") == [("Running",)]

    again = fence.write(grant, [(1, "a")])
    assert fence.commit(grant, good, again) == "committed"
    assert (rows(world), rows(world, "other")) == ([(1, "a")], [(5, "x")])


def lose(world: World) -> None:
    world.workers["w1"].heard = False
    world.advance(15)


def cancel(world: World) -> None:
    (run,) = (r[0] for r in world.rows("SELECT uid FROM run"))
    world.cancel(run)
    world.settle()
    world.advance(35)


@pytest.mark.parametrize("end", [pytest.param(lose, id="lost"), pytest.param(cancel, id="cancelled")])
def test_a_superseded_attempt_leaves_nothing(world: World, fence: Fence, end: Any) -> None:
    grant = claimed(world)
    write = fence.write(grant, [(1, "a")])
    end(world)

    with pytest.raises(psycopg.Error) as refused:
        fence.commit(grant, write)
    assert refused.value.sqlstate == "SP001"
    fence.connection.rollback()
    with pytest.raises(psycopg.Error) as refused:
        fence.stage(grant, [(1, "a")])
    assert refused.value.sqlstate == "SP001"
    fence.connection.rollback()
    assert rows(world) == []


def test_an_attempt_that_is_given_up_during_its_merge_leaves_nothing(world: World, fence: Fence) -> None:
    grant = claimed(world)
    write = fence.write(grant, [(1, "a")])
    values = (grant.attempt, grant.token, "{}", "null", json.dumps([write]))
    # The merge is done and its transaction still open when the controller gives the attempt up: the fence was taken, so
    # the controller leaves the locked row alone and finds the attempt Committed.
    fence.connection.execute("SELECT fence.commit(%s, %s, %s, %s, %s)", values)
    lose(world)
    assert world.rows("SELECT phase FROM attempt") == [("Running",)]
    fence.connection.commit()
    world.advance(6)

    assert rows(world) == [(1, "a")]
    assert world.rows("SELECT phase FROM attempt WHERE task = 'w'") == [("Succeeded",)]


def test_another_token_opens_nothing(world: World, fence: Fence) -> None:
    grant = claimed(world)
    write = fence.write(grant, [(1, "a")])
    with pytest.raises(psycopg.Error) as refused:
        fence.commit(grant, write, token="forged")
    assert refused.value.sqlstate == "SP001"
    fence.connection.rollback()
    with pytest.raises(psycopg.Error) as refused:
        fence.stage(grant, [], token="forged")
    assert refused.value.sqlstate == "SP001"


def test_a_dataset_that_is_not_declared_is_refused(world: World, fence: Fence) -> None:
    world.apply(dataset("secret", ("k", "int64"), ("v", "string"), tier="hot"))
    grant, uid = claimed(world), world.uid("Dataset", "secret")
    with pytest.raises(psycopg.Error) as refused:
        fence.connection.execute("SELECT fence.stage(%s, %s, %s)", (grant.attempt, grant.token, uid))
    assert refused.value.sqlstate == "SP003"
    fence.connection.rollback()
    with pytest.raises(psycopg.Error) as refused:
        fence.commit(grant, {"dataset": "secret", "uid": uid})
    assert refused.value.sqlstate == "SP003"
    fence.connection.rollback()
    assert world.rows("SELECT phase FROM attempt") == [("Running",)]


def test_a_stage_of_another_attempt_is_not_merged(world: World, fence: Fence) -> None:
    one, two = claimed(world), claimed(world)
    foreign = fence.write(one, [(1, "a")])
    with pytest.raises(psycopg.Error):
        fence.commit(two, foreign)
    fence.connection.rollback()

    assert rows(world) == []


def test_outputs_over_the_limit_are_refused(world: World, fence: Fence) -> None:
    grant = claimed(world)
    with pytest.raises(psycopg.Error) as refused:
        fence.commit(grant, outputs={"big": "x" * 70_000})
    assert refused.value.sqlstate == "SP003"


def test_hot_and_cold_enter_together(world: World, fence: Fence) -> None:
    world.apply(dataset("lake", ("k", "int64")))
    outputs = {"out": {"dataset": "keyed", "mode": "append"}, "cold": {"dataset": "lake", "mode": "append"}}
    world.apply(dag("both", task("w", outputs=outputs)))
    grant = claimed(world, "both")
    key = f"cold/default/lake/{grant.attempt.replace('/', '.')}-00000.parquet"
    cold = {
        "dataset": "lake",
        "uid": grant.outputs["cold"].uid,
        "files": [{"key": key, "partition": "", "rows": 2, "bytes": 9}],
    }
    fence.commit(grant, fence.write(grant, [(1, "a")]), cold)

    assert rows(world) == [(1, "a")]
    assert world.rows("SELECT key, added FROM manifest_file") == [(key, 1)]


def test_stages_of_ended_attempts_are_swept_and_those_of_running_ones_kept(world: World, fence: Fence) -> None:
    ended, running = claimed(world), claimed(world)
    fence.stage(ended, [(1, "a")])
    kept = fence.stage(running, [(2, "b")])
    world.report(ended, "failed")
    world.wake(world.timers.resync())

    assert [r[0] for r in world.rows("SELECT 'stage.' || name FROM stage_table")] == [kept]
    assert world.one("SELECT count(*) FROM pg_tables WHERE schemaname = 'stage'") == 1


# Tables


def test_a_hot_table_follows_its_dataset_where_no_row_is_lost(world: World, fence: Fence) -> None:
    put(world, fence, "append", (1, "a"))
    more = ("k", "int64"), ("v", "string"), ("w", "timestamp"), ("x", "json")
    world.apply(dataset("keyed", *more, tier="hot", uniqueKey=["k"]))

    columns = world.rows("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'keyed'")
    assert dict(columns)["w"] == "timestamp with time zone"
    assert rows(world) == [(1, "a")]
    put(world, fence, "merge", (1, "A"))
    assert rows(world) == [(1, "A")]


def test_another_unique_key_replaces_the_former(world: World, fence: Fence) -> None:
    put(world, fence, "append", (1, "a"))
    world.apply(dataset("keyed", ("k", "int64"), ("v", "string"), tier="hot", uniqueKey=["k", "v"]))
    put(world, fence, "merge", (1, "a"), (1, "b"))

    assert rows(world) == [(1, "a"), (1, "b")]
    indexes = world.rows("SELECT indexname FROM pg_indexes WHERE schemaname = 'hot' AND tablename = 'keyed'")
    assert len(indexes) == 1


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"columns": (("k", "string"), ("v", "string"))}, id="another type"),
        pytest.param({"columns": (("k", "int64"), ("v", "string")), "uniqueKey": ["v"]}, id="a key that rows share"),
    ],
)
def test_a_change_that_would_lose_rows_is_refused(world: World, fence: Fence, spec: dict[str, Any]) -> None:
    put(world, fence, "append", (1, "same"), (2, "same"))
    columns = spec.pop("columns")
    with pytest.raises(Exception, match=r"hot\.keyed"):
        world.apply(dataset("keyed", *columns, tier="hot", **spec))

    assert rows(world) == [(1, "same"), (2, "same")]
