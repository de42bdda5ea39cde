"""What attempts read and put out: upstream outputs, bookmarks, cold manifests and their pinned versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from crds.names import AttemptId, cold_key
from crds.protocol import DatasetWrite, Grant, Report, ReportRequest, WrittenFile
from tests.integration.core_parts import dag, dataset, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.conftest import Database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(
        pool("python"),
        pool("ingest", "ingest"),
        dataset("lake", ("day", "string"), ("n", "int64"), partitionBy=["day"]),
    )
    yield world
    world.close()


def writer(name: str, mode: str, needs: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    return task(name, needs, outputs={"lake": {"dataset": "lake", "mode": mode}}, **more)


def reader(name: str, needs: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    return task(name, needs, inputs={"lake": {"dataset": "lake"}}, **more)


def write(grant: Grant, *partitions: str, rows: int = 10, mode: str | None = None) -> DatasetWrite:
    """Return the write of one file a partition into the grant's dataset."""
    ref = grant.outputs["lake"]
    files = [
        WrittenFile(key=cold_key("lake", "default", p, grant.attempt, n), partition=p, rows=rows, bytes=rows * 8)
        for n, p in enumerate(partitions)
    ]
    return DatasetWrite(dataset="lake", uid=ref.uid, mode=mode or str(ref.mode), rows=rows * len(files), files=files)


def run_one(world: World, name: str, *partitions: str, **more: Any) -> str:
    """Run a DAG of one writing task and return the attempt."""
    world.trigger(name)
    world.settle()
    (grant,) = world.claim()
    assert world.report(grant, writes=[write(grant, *partitions, **more)]) == "recorded"
    world.settle()
    return grant.attempt


def lake(world: World) -> list[tuple[str, int]]:
    """Return partition and rows of the newest version's files."""
    return world.rows("SELECT partition, rows FROM manifest_file WHERE removed IS NULL ORDER BY partition, added, key")


def state(world: World) -> tuple[Any, ...]:
    return world.rows("SELECT version, rows, bytes, files, partitions FROM dataset_state")[0]


def test_outputs_reach_the_tasks_that_name_them(world: World) -> None:
    world.apply(
        dag(
            "pass",
            task("up"),
            task("down", ["up"], inputs={"whole": {"task": "up"}, "part": {"task": "up", "key": "n"}}),
        )
    )
    world.trigger("pass", n=1)
    world.settle()
    world.report(world.claim()[0], outputs={"n": 7, "text": "ü"})
    world.settle()
    (down,) = world.claim()

    assert {alias: i.value for alias, i in down.inputs.items()} == {"whole": {"n": 7, "text": "ü"}, "part": 7}
    assert down.upstream == {"up": "Succeeded"}
    assert (down.dag, down.number, down.params, down.timeout_seconds) == ("pass", 1, {"n": 1}, 3600)


def test_a_task_that_runs_after_a_failure_sees_no_outputs_of_it(world: World) -> None:
    world.apply(
        dag(
            "after",
            task("up", retries={"limit": 0}),
            task("down", ["up"], when="all_done", inputs={"x": {"task": "up"}}),
        )
    )
    world.trigger("after")
    world.settle()
    world.report(world.claim()[0], "failed", outputs={"n": 7})
    world.settle()
    (down,) = world.claim()

    assert (down.inputs["x"].value, down.upstream) == (None, {"up": "Failed"})


def test_append_replace_and_replace_partitions(world: World) -> None:
    world.apply(*(dag(mode.lower(), writer("w", mode)) for mode in ("append", "replace", "replacePartitions")))
    run_one(world, "append", "day=1", "day=2")
    run_one(world, "append", "day=2")
    assert lake(world) == [("day=1", 10), ("day=2", 10), ("day=2", 10)]
    assert state(world) == (2, 30, 240, 3, 2)

    run_one(world, "replacepartitions", "day=2", "day=3", rows=5)
    assert lake(world) == [("day=1", 10), ("day=2", 5), ("day=3", 5)]
    assert state(world) == (3, 20, 160, 3, 3)

    run_one(world, "replace", "day=9")
    assert (lake(world), state(world)) == ([("day=9", 10)], (4, 10, 80, 1, 1))
    run_one(world, "replace")
    assert (lake(world), state(world)) == ([], (5, 0, 0, 0, 0))


def test_the_declared_mode_counts_not_the_reported_one(world: World) -> None:
    world.apply(dag("appends", writer("w", "append")))
    run_one(world, "appends", "day=1")
    run_one(world, "appends", "day=1", mode="replace")

    assert len(lake(world)) == 2


def test_a_run_reads_the_version_that_was_newest_when_it_was_admitted(world: World) -> None:
    world.apply(dag("appends", writer("w", "append")), dag("reads", task("first"), reader("second", ["first"])))
    old = run_one(world, "appends", "day=1")
    world.trigger("reads")
    world.settle()
    (first,) = world.claim()
    run_one(world, "appends", "day=2")
    world.report(first)
    world.settle()
    (second,) = world.claim()

    seen = second.inputs["lake"].dataset
    assert seen is not None
    assert (seen.version, [f.partition for f in seen.files]) == (1, ["day=1"])
    assert old.replace("/", ".") in seen.files[0].key


def test_a_task_reads_what_its_own_run_wrote_above_it(world: World) -> None:
    world.apply(
        dag("appends", writer("w", "append")),
        dag("own", reader("before"), writer("w", "append"), task("between", ["w"]), reader("after", ["between"])),
    )
    run_one(world, "appends", "day=0")
    world.trigger("own")
    world.settle()
    grants = {g.task["name"]: g for g in world.claim()}
    world.report(grants["w"], writes=[write(grants["w"], "day=1")])
    world.settle()
    (between,) = world.claim()
    run_one(world, "appends", "day=2")
    world.report(between)
    world.settle()
    (after,) = world.claim()

    seen = {name: g.inputs["lake"].dataset for name, g in (("before", grants["before"]), ("after", after))}
    assert {n: (d.version, [f.partition for f in d.files]) for n, d in seen.items() if d} == {
        "before": (1, ["day=0"]),
        "after": (2, ["day=0", "day=1"]),
    }


def test_a_failed_attempt_leaves_no_file_in_the_manifest(world: World) -> None:
    world.apply(dag("appends", writer("w", "append")))
    world.trigger("appends")
    world.settle()
    (grant,) = world.claim()
    world.report(grant, "failed", writes=[write(grant, "day=1")])
    world.settle()

    assert (lake(world), world.rows("SELECT version FROM dataset_state")) == ([], [(0,)])


def test_a_superseded_attempt_leaves_no_file_in_the_manifest(world: World) -> None:
    world.apply(dag("appends", writer("w", "append")))
    world.trigger("appends")
    world.settle()
    (old,) = world.claim(worker="w1")
    world.workers["w1"].heard = False
    world.advance(15)
    (new,) = world.claim(worker="w2")

    assert world.report(old, writes=[write(old, "day=1")]) == "stale"
    assert world.report(new, writes=[write(new, "day=1")]) == "recorded"
    assert world.report(new, writes=[write(new, "day=1")]) == "recorded"
    world.settle()
    assert lake(world) == [("day=1", 10)]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"uid": "unknown"}, id="a dataset that is not declared"),
        pytest.param({"key": "cold/default/other/{attempt}-0.parquet"}, id="a file of another dataset"),
        pytest.param({"key": "cold/default/lake/../other/x.parquet"}, id="a file without the attempt's id"),
        pytest.param({"key": "cold/default/lake/../other/{attempt}-0.parquet"}, id="a file that climbs out"),
    ],
)
def test_a_write_that_may_not_be_is_a_failure(world: World, broken: dict[str, str]) -> None:
    world.apply(dag("appends", writer("w", "append", retries={"limit": 0})))
    run = world.trigger("appends")
    world.settle()
    (grant,) = world.claim()
    key = broken.get("key", "").format(attempt=grant.attempt.replace("/", "."))
    files = [WrittenFile(key=key, partition="", rows=1, bytes=1)] if key else []
    uid = broken.get("uid", grant.outputs["lake"].uid)
    bad = DatasetWrite(dataset="lake", uid=uid, mode="append", files=files)

    assert world.report(grant, writes=[bad]) == "recorded"
    world.settle()
    assert (world.phase(run), lake(world)) == ("Failed", [])
    assert "lake" in world.one("SELECT message FROM task_run")


def test_one_bad_report_fails_alone(world: World) -> None:
    world.apply(dag("appends", writer("good", "append"), writer("bad", "append", retries={"limit": 0})))
    run = world.trigger("appends")
    world.settle()
    grants = {g.task["name"]: g for g in world.claim()}
    bad = DatasetWrite(dataset="lake", uid="unknown", mode="append")
    reports = [
        Report(attempt=grants["bad"].attempt, token=grants["bad"].token, outcome="succeeded", writes=[bad]),
        Report(
            attempt=grants["good"].attempt,
            token=grants["good"].token,
            outcome="succeeded",
            writes=[write(grants["good"], "day=1")],
        ),
    ]
    world.reporting.reports([ReportRequest(reports=reports, worker="w1", pool="python")])
    world.settle()

    assert world.tasks(run) == {"good": "Succeeded", "bad": "Failed"}
    assert lake(world) == [("day=1", 10)]


def test_a_bookmark_reaches_the_next_run_of_the_task(world: World) -> None:
    pull = writer("pull", "append", runtime="ingest", retries={"limit": 0}) | {"with": {"function": "main:pull"}}
    world.apply(pool("ingest", "ingest", grants={"coldDatasets": ["lake"]}), dag("inc", pull))
    seen = []
    for outcome, bookmark in (
        ("succeeded", {"at": 1}),
        ("failed", {"at": 2}),
        ("succeeded", None),
        ("succeeded", {"at": 3}),
    ):
        world.trigger("inc")
        world.settle()
        (grant,) = world.claim(worker="i1", pool="ingest")
        seen.append(grant.bookmark)
        world.report(grant, outcome, bookmark=bookmark)
        world.settle()

    assert seen == [None, {"at": 1}, {"at": 1}, {"at": 1}]
    assert world.one("SELECT value FROM bookmark") == {"at": 3}


def test_a_retry_reads_the_version_that_its_run_pinned(world: World) -> None:
    world.apply(dag("appends", writer("w", "append")), dag("reads", reader("r", retries={"limit": 0})))
    run_one(world, "appends", "day=1")
    run = world.trigger("reads")
    world.settle()
    world.report(world.claim()[0], "failed")
    world.settle()
    run_one(world, "appends", "day=2")
    world.retry(run)
    world.settle()
    (grant,) = world.claim()

    seen = grant.inputs["lake"].dataset
    assert seen is not None
    assert seen.version == 1
    assert AttemptId(f"{run}/r/0/2") == grant.attempt
