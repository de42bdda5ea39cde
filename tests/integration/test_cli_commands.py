"""The command line against a real API: what people type, what they see, and the exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
import pytest
import yaml

from controller.cli.client import Client
from controller.cli.target import Target
from controller.cli.watching import keep_applied
from crds.names import AttemptId, log_prefix
from tests.integration.api_world import DIAMOND, POOLS, World, dag, running, task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.conftest import Database

PATIENCE_SECONDS = 60.0


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with running(database) as world:
        world.apply(*POOLS, DIAMOND)
        yield world


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "controller.cli.main", *words]


def environment(world: World, role: str = "admin") -> dict[str, str]:
    return {**os.environ, "SETPOINT_URL": world.url, "SETPOINT_TOKEN": f"{role}-token"}


def setpoint(world: World, *words: str, code: int = 0, role: str = "admin") -> str:
    done = subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        env=environment(world, role),
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def eventually(check: Any, expected: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := check()) != expected:
        assert time.monotonic() < deadline, f"still {found!r}"
        time.sleep(0.1)


def test_get_prints_tables_and_documents(world: World) -> None:
    run = world.trigger("diamond")
    name = run["metadata"]["name"]
    world.start(run, {"a": "Succeeded", "b": "Ready", "c": "Waiting", "d": "Waiting"})

    header, row = setpoint(world, "get", "dags").splitlines()
    assert header.split()[:4] == ["NAME", "PHASE", "REVISION", "TASKS"]
    assert row.split()[:4] == ["diamond", "Active", "1", "4"]
    assert setpoint(world, "get", "runs", "-o", "name").strip() == f"run/{name}"
    assert " 1/4 " in setpoint(world, "get", "runs")
    assert "WaitingForSlot" in setpoint(world, "get", "tasks", "--run", "latest")
    assert json.loads(setpoint(world, "get", "run", "latest", "-o", "json"))["metadata"]["name"] == name
    pools = yaml.safe_load(setpoint(world, "-o", "yaml", "get", "pools"))
    assert [item["metadata"]["name"] for item in pools["items"]] == ["ingest", "polars", "python"]


def test_get_of_a_dag_draws_it_and_lists_its_revisions(world: World) -> None:
    world.apply(DIAMOND | {"spec": DIAMOND["spec"] | {"description": "better"}})
    printed = setpoint(world, "get", "dag", "diamond")
    assert "a  (python)\n├─ b  (python)\n│  └─ d  (python)  + c\n└─ c  (python)" in printed
    assert "description" in printed
    assert "REVISION" in printed
    assert "t0 --> t1" in setpoint(world, "graph", "dag/diamond", "-o", "mermaid")


@pytest.mark.parametrize("words", [("dag/diamond",), ("run/latest",), ("task/latest.b",), ("pool", "python")])
def test_describe_shows_conditions(world: World, words: tuple[str, ...]) -> None:
    run = world.trigger("diamond")
    uid = world.start(run, {"a": "Succeeded", "b": "Active"})
    world.attempt(uid, "b", "Running")
    printed = setpoint(world, "describe", *words)
    assert "Conditions:" in printed
    assert "STATUS" in printed


def test_explain_says_why(world: World) -> None:
    run = world.trigger("diamond")
    world.start(run, {"a": "Backoff", "b": "Waiting"})
    printed = setpoint(world, "explain", "run/latest")
    assert "backoff until" in printed
    assert "waits for upstream a (Backoff)" in printed
    assert "waits for upstream a (Backoff)" in setpoint(world, "explain", "task/latest.b")


def test_trigger_waits_for_success(world: World) -> None:
    def succeed() -> None:
        eventually(lambda: world.execute("SELECT count(*) FROM run"), [(1,)])
        ((uid, name),) = world.execute("SELECT uid, name FROM run")
        world.start({"metadata": {"uid": uid, "name": name}}, {"a": "Succeeded"})
        world.end(uid, "Succeeded")

    helper = threading.Thread(target=succeed)
    helper.start()
    printed = setpoint(world, "trigger", "diamond", "-p", "n=1", "-p", "day=monday", "--wait")
    helper.join()
    assert "a Succeeded" in printed
    assert world.execute("SELECT params FROM run") == [({"n": 1, "day": "monday"},)]


def test_a_failed_run_is_exit_1(world: World) -> None:
    run = world.trigger("diamond", idempotencyKey="k")
    world.end(world.start(run, {"a": "Failed"}), "Failed")
    printed = setpoint(world, "trigger", "diamond", "--key", "k", "--wait", code=1)
    assert "setpoint explain run/" in printed


def test_logs_and_events(world: World) -> None:
    run = world.trigger("diamond")
    name = run["metadata"]["name"]
    uid = world.start(run, {"a": "Succeeded"})
    attempt = world.attempt(uid, "a", "Succeeded")
    obstore.put(world.objects, f"{log_prefix(AttemptId(attempt))}000001.log", b"hello\n")
    world.end(uid, "Succeeded")

    assert setpoint(world, "logs", "run/latest", "-f") == "a | hello\n"
    assert setpoint(world, "logs", f"{name}.a") == "hello\n"
    assert "Triggered" in setpoint(world, "events", "--for", "run/latest")
    assert "Triggered" not in setpoint(world, "events", "--for", "dag/diamond")


def test_steering(world: World) -> None:
    run = world.trigger("diamond")
    uid = world.start(run, {"a": "Failed", "b": "UpstreamFailed", "c": "UpstreamFailed", "d": "UpstreamFailed"})
    assert "paused" in setpoint(world, "pause", "run/latest")
    assert "resumed" in setpoint(world, "resume", "run/latest")
    assert "cancel requested" in setpoint(world, "cancel", "latest")
    world.end(uid, "Cancelled")
    assert "opened again" in setpoint(world, "retry", "run/latest", "--task", "a")
    assert world.execute("SELECT phase FROM task_run ORDER BY task") == [("Ready",), *[("Waiting",)] * 3]
    assert "paused" in setpoint(world, "pause", "dag/diamond")
    assert "tasks of diamond run in it" in setpoint(world, "delete", "pool/python", code=4)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(("get", "dgas"), 2, "did you mean dags?", id="unknown kind"),
        pytest.param(("get",), 2, "Missing argument", id="nothing to get"),
        pytest.param(("gte", "dags"), 2, "did you mean get?", id="unknown command"),
        pytest.param(("cancel", "dag/x"), 2, "run/NAME", id="wrong kind"),
        pytest.param(("describe", "dag/none"), 4, "there is no Dag", id="no such object"),
        pytest.param(("trigger", "diamond", "-p", "n"), 2, "key=value", id="param without a value"),
        pytest.param(("apply", "-f", "/nowhere"), 1, "no such file", id="no such file"),
    ],
)
def test_mistakes_are_told(world: World, words: tuple[str, ...], code: int, says: str) -> None:
    assert says in setpoint(world, *words, code=code)


def test_a_viewer_is_refused(world: World) -> None:
    assert "this needs operator" in setpoint(world, "trigger", "diamond", code=4, role="viewer")


def test_without_a_server_it_says_how_to_start_one(tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("SETPOINT_")}
    (tmp_path / ".setpoint").mkdir()
    (tmp_path / ".setpoint" / "config.json").write_text(
        '{"current": "local", "contexts": {"local": {"url": "http://127.0.0.1:9", "token": "t"}}}'
    )
    (tmp_path / "below").mkdir()
    done = subprocess.run(
        command("get", "dags"),
        capture_output=True,
        text=True,
        env={**env, "PYTHONPATH": str(Path.cwd())},
        cwd=tmp_path / "below",
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 3
    assert "http://127.0.0.1:9" in done.stderr
    assert "config.json" in done.stderr
    assert "setpoint up" in done.stderr


HELLO = """\
apiVersion: setpoint.dev/v1
kind: Dag
metadata:
  name: hello
spec:
  tasks:
    - name: greet
      runtime: python
      with:
        entrypoint: main:greet
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hello = tmp_path / "hello"
    hello.mkdir()
    (hello / "dag.yaml").write_text(HELLO)
    (hello / "main.py").write_text("def greet(context):\n    print('hello')\n")
    return tmp_path


def test_apply_stores_the_code_and_diff_shows_its_changes(world: World, folder: Path) -> None:
    path = str(folder)
    assert "dag/hello is new" in setpoint(world, "diff", "-f", path, code=1)
    assert "created (revision 1) (dry run)" in setpoint(world, "apply", "-f", path, "--dry-run")
    assert "dag/hello created (revision 1)" in setpoint(world, "apply", "-f", path)
    assert "unchanged" in setpoint(world, "apply", "-f", path)
    assert setpoint(world, "diff", "-f", path) == ""
    world.trigger("hello")

    (folder / "hello" / "main.py").write_text("def greet(context):\n    print('good day')\n")
    (folder / "hello" / "dag.yaml").write_text(HELLO + "      priority: 7\n")
    printed = setpoint(world, "diff", "-f", path, code=1)

    assert "-    print('hello')" in printed
    assert "+    print('good day')" in printed
    assert "dag/hello spec.tasks[greet].priority" in printed
    assert "the next run uses revision 2" in printed
    assert "1 runs in progress keep their revision" in printed
    assert "configured (revision 2)" in setpoint(world, "apply", "-f", path)


def test_one_bad_file_changes_nothing_and_all_problems_are_printed(world: World, folder: Path) -> None:
    bad = folder / "bad"
    bad.mkdir()
    (bad / "dag.yaml").write_text(HELLO.replace("hello", "bad").replace("runtime", "runtim").replace("spec", "spec"))
    (folder / "worse.yaml").write_text(HELLO.replace("name: hello", "name: worse") + "      pol: x\n")
    printed = setpoint(world, "apply", "-f", str(folder), code=1)
    assert "bad/dag.yaml:" in printed
    assert "worse.yaml:" in printed
    assert "nothing was changed" in printed
    assert [item["metadata"]["name"] for item in world.get("/dags")["items"]] == ["diamond"]
    setpoint(world, "diff", "-f", str(folder), code=4)


def test_a_problem_that_only_the_server_sees_has_its_line(world: World, folder: Path) -> None:
    (folder / "pool.yaml").write_text(
        "kind: WorkerPool\nmetadata: {name: python}\nspec:\n  runtime: polars\n  slots: 1\n  maxTasks: 2\n"
    )
    (folder / "hello" / "dag.yaml").unlink()
    printed = setpoint(world, "apply", "-f", str(folder), code=1)
    assert "pool.yaml:4: spec.runtime: cannot change while tasks of diamond run" in printed


def test_watching_applies_good_saves_and_reports_bad_ones(world: World, folder: Path, tmp_path: Path) -> None:
    output = tmp_path.parent / f"{tmp_path.name}.out"
    with output.open("w") as log:
        watcher = subprocess.Popen(
            command("apply", "-f", str(folder), "--watch"), env=environment(world), stdout=log, stderr=log
        )
        try:

            def revision() -> int:
                found = [d for d in world.get("/dags")["items"] if d["metadata"]["name"] == "hello"]
                return found[0]["status"]["revision"] if found else 0

            eventually(revision, 1)
            file = folder / "hello" / "dag.yaml"
            file.write_text(HELLO + "      priority: [half")
            eventually(lambda: "dag.yaml:" in output.read_text(), True)
            assert revision() == 1
            file.write_text(HELLO + "      priority: 7\n")
            eventually(revision, 2)
        finally:
            watcher.terminate()
            watcher.wait(PATIENCE_SECONDS)


def test_watching_applies_what_is_saved_before_the_watch_has_begun(world: World, folder: Path) -> None:
    """Between the first apply and the watch, a save brings no event."""
    actions: list[str] = []
    over = threading.Event()

    def applied(items: Sequence[dict[str, Any]]) -> None:
        actions.append(next(item["action"] for item in items if item["name"] == "hello"))
        if len(actions) == 1:
            (folder / "hello" / "dag.yaml").write_text(HELLO + "      priority: 7\n")
        else:
            over.set()

    client = Client(Target(world.url, "admin-token"))
    watcher = threading.Thread(
        target=keep_applied, args=(client, [str(folder)]), kwargs={"stop": over, "applied": applied}, daemon=True
    )
    watcher.start()
    watcher.join(PATIENCE_SECONDS)
    over.set()
    assert actions == ["created", "configured"]


def test_get_can_watch(world: World) -> None:
    watcher = subprocess.Popen(
        command("get", "dags", "-w", "-o", "name"), env=environment(world), stdout=subprocess.PIPE, text=True
    )
    try:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "dag/diamond\n"
        world.apply(dag("another", task("a")))
        assert watcher.stdout.readline() == "dag/another\n"
    finally:
        watcher.kill()
        watcher.communicate()
