"""What a worker's login may do: its own stage tables and the fence's two functions, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from controller.store.migrate import CONTROLLER_LIMITS, WORKER_LIMITS, ensure_login
from tests.conftest import DISPATCHER, PASSWORD, WORKER
from tests.integration.core_parts import dag, dataset, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crds.protocol import Grant
    from tests.conftest import Database

DENIED = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    outputs = {"out": {"dataset": "facts", "mode": "append"}}
    world.apply(pool("python"), dataset("facts", ("k", "int64"), tier="hot"), dag("d", task("w", outputs=outputs)))
    yield world
    world.close()


@pytest.fixture
def worker(world: World, database: Database) -> Iterator[psycopg.Connection]:
    with database.connect_as_worker() as connection:
        connection.autocommit = True
        yield connection


def claimed(world: World) -> Grant:
    world.trigger("d")
    world.settle()
    return world.claim()[0]


def staged(worker: psycopg.Connection, grant: Grant) -> str:
    row = worker.execute(
        "SELECT fence.stage(%s, %s, %s)", (grant.attempt, grant.token, grant.outputs["out"].uid)
    ).fetchone()
    assert row is not None
    return str(row[0])


def test_no_table_of_the_control_state_can_be_read_or_written(world: World, worker: psycopg.Connection) -> None:
    tables = [r[0] for r in world.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'setpoint'")]
    assert len(tables) > 15
    for table in tables:
        name = sql.Identifier("setpoint", table)
        for statement in ("SELECT * FROM {}", "DELETE FROM {}", "TRUNCATE {}"):
            with pytest.raises(DENIED):
                worker.execute(sql.SQL(statement).format(name))


def test_no_function_of_the_control_state_can_be_called(world: World, worker: psycopg.Connection) -> None:
    for call in (
        "setpoint.apply_writes('a', '[]', now())",
        "setpoint.merge_stage('s', 'default', 'facts', '{}', 'append')",
        "setpoint.ensure_hot_table('x')",
        "setpoint.sweep_stages(1)",
        "setpoint.attempt_outputs('a')",
        "fence.guard('a', 'b')",
    ):
        with pytest.raises(DENIED):
            worker.execute(f"SELECT {call}")


def test_hot_tables_can_be_read_and_not_written(world: World, worker: psycopg.Connection) -> None:
    assert worker.execute("SELECT * FROM hot.facts").fetchall() == []
    for statement in (
        "INSERT INTO hot.facts VALUES (1)",
        "UPDATE hot.facts SET k = 2",
        "DELETE FROM hot.facts",
        "TRUNCATE hot.facts",
        "ALTER TABLE hot.facts ADD COLUMN x int",
        "DROP TABLE hot.facts",
        "CREATE TABLE hot.mine (x int)",
        "CREATE TABLE stage.mine (x int)",
        "CREATE TABLE fence.mine (x int)",
        "CREATE TABLE public.mine (x int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION fence.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ):
        with pytest.raises(psycopg.Error):
            worker.execute(statement)


def test_a_stage_can_be_filled_and_neither_altered_nor_dropped(world: World, worker: psycopg.Connection) -> None:
    stage = staged(worker, claimed(world))
    worker.execute(f"INSERT INTO {stage} VALUES (1)")
    for statement in (
        "ALTER TABLE {} ADD COLUMN x int",
        "DROP TABLE {}",
        "CREATE TRIGGER t BEFORE INSERT ON {} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ):
        with pytest.raises(DENIED):
            worker.execute(statement.format(stage))


def test_the_stage_of_another_login_is_closed(world: World, worker: psycopg.Connection, database: Database) -> None:
    stage = staged(worker, claimed(world))
    with psycopg.connect(database.migrator_conninfo) as migrator:
        ensure_login(migrator, "test_other_worker", PASSWORD, "setpoint_worker", WORKER_LIMITS)
    conninfo = psycopg.conninfo.make_conninfo(database.worker_conninfo, user="test_other_worker")
    with psycopg.connect(conninfo, autocommit=True) as other:
        for statement in ("SELECT * FROM {}", "INSERT INTO {} VALUES (1)", "DROP TABLE {}", "TRUNCATE {}"):
            with pytest.raises(DENIED):
                other.execute(statement.format(stage))


def test_objects_of_the_session_cannot_stand_in_for_ours(world: World, worker: psycopg.Connection) -> None:
    grant = claimed(world)
    worker.execute("CREATE TEMP TABLE attempt (id text, phase text, token_hash bytea)")
    worker.execute("INSERT INTO attempt VALUES ('forged/a/0/1', 'Running', sha256('t'))")
    worker.execute("SET search_path = pg_temp, setpoint, public")
    with pytest.raises(psycopg.Error) as refused:
        worker.execute("SELECT fence.stage('forged/a/0/1', 't', %s)", (grant.outputs["out"].uid,))
    assert refused.value.sqlstate == "SP001"


@pytest.mark.parametrize(
    ("login", "limits"),
    [pytest.param(WORKER, WORKER_LIMITS, id="worker"), pytest.param(DISPATCHER, CONTROLLER_LIMITS, id="dispatcher")],
)
def test_logins_start_with_their_limits(database: Database, login: str, limits: dict[str, str]) -> None:
    conninfo = database.worker_conninfo if login == WORKER else database.conninfo
    with psycopg.connect(conninfo) as connection:
        for name, value in limits.items():
            shown = connection.execute("SELECT current_setting(%s)::interval = %s::interval", (name, value)).fetchone()
            assert shown == (True,), name


def test_the_dispatcher_changes_no_schema(database: Database) -> None:
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        for statement in ("DROP TABLE setpoint.run", "CREATE TABLE setpoint.x (y int)", "CREATE TABLE hot.x (y int)"):
            with pytest.raises(DENIED):
                connection.execute(statement)
