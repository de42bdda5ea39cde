"""The further commands against a real API: wait, top, doctor, and the forms of get."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
import pytest

from crds.names import AttemptId, log_prefix
from tests.integration.api_world import DIAMOND, POOLS, World, dag, running, task
from tests.integration.test_cli_commands import PATIENCE_SECONDS, command, environment, setpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with running(database) as world:
        world.apply(*POOLS, DIAMOND)
        yield world


def started(world: World) -> tuple[str, str]:
    """Return the name and the uid of a run that is under way."""
    run = world.trigger("diamond")
    return run["metadata"]["name"], world.start(run, {"a": "Ready", "b": "Waiting", "c": "Waiting", "d": "Waiting"})


def test_wait_sees_the_end_of_a_run(world: World) -> None:
    name, uid = started(world)
    waiting = subprocess.Popen(
        command("wait", f"run/{name}", "--for", "phase=Succeeded", "--timeout", "60"),
        env=environment(world),
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.5)
    world.end(uid, "Succeeded")
    said, _ = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert (waiting.returncode, said) == (0, f"run/{name} met phase=Succeeded\n")


def test_wait_ends_when_it_cannot_be_met_or_in_time(world: World) -> None:
    name, uid = started(world)
    said = setpoint(world, "wait", f"run/{name}", "--for", "phase=Succeeded", "--timeout", "0.5", code=1)
    assert "not yet at phase=Succeeded" in said
    world.end(uid, "Failed")
    assert "has ended as Failed" in setpoint(world, "wait", f"run/{name}", "--for=phase=Succeeded", code=1)
    assert "none of condition" in setpoint(world, "wait", f"run/{name}", "--for=tea", code=2)
    condition = world.get(f"/dagruns/{name}")["status"]["conditions"][0]
    goal = f"condition={condition['type'].lower()}={condition['status']}"
    assert "met" in setpoint(world, "wait", "run/latest", f"--for={goal}")


def test_wait_for_a_deletion(world: World) -> None:
    deleting = threading.Timer(0.7, lambda: world.call("DELETE", "/dags/diamond"))
    deleting.start()
    try:
        assert "dag/diamond deleted" in setpoint(world, "wait", "dag/diamond", "--for=delete", "--timeout=60")
    finally:
        deleting.join()
    setpoint(world, "wait", "dag/diamond", "--for=condition=Ready", code=4)


def test_top(world: World) -> None:
    started(world)
    header, *pools = setpoint(world, "top", "--sort-by", "demand").splitlines()
    assert header.split()[:4] == ["POOL", "RUNTIME", "TASKS", "BUSY"]
    assert pools[0].split()[0] == "python"
    queues = json.loads(setpoint(world, "top", "queues", "-o", "json"))["items"]
    assert [q["pool"] for q in queues if q["oldestWait"] is not None] == ["python"]
    assert setpoint(world, "top", "runs").splitlines()[2].split()[:2] == ["Running", "1"]
    assert "top shows" in setpoint(world, "top", "beds", code=2)
    assert "there is no column" in setpoint(world, "top", "--sort-by", "beds", code=2)


def test_get_in_many_forms(world: World) -> None:
    first, _ = started(world)
    second, _ = started(world)
    assert setpoint(world, "get", "run", first, second, "-o", "name").split() == [f"run/{first}", f"run/{second}"]
    assert setpoint(world, "get", f"run/{first}", "pool/python", "-o", "name").split() == [
        f"run/{first}",
        "pool/python",
    ]
    assert setpoint(world, "get", "dag/diamond", "-o", "jsonpath={.spec.tasks[*].name}").strip() == "a,b,c,d"
    table = setpoint(
        world, "get", "pools", "-o", "custom-columns=NAME:.metadata.name,SLOTS:.spec.slots", "--sort-by=.metadata.name"
    )
    assert [line.split() for line in table.splitlines()] == [
        ["NAME", "SLOTS"],
        ["ingest", "1"],
        ["polars", "1"],
        ["python", "1"],
    ]
    assert setpoint(world, "get", "runs", "--field-selector", f"metadata.name={first}", "-o", "name").split() == [
        f"run/{first}"
    ]
    assert "dag/diamond" in setpoint(world, "get", "all", "-o", "name")
    assert "-o 'tea' is none of" in setpoint(world, "get", "dags", "-o", "tea", code=2)
    assert "is no path" in setpoint(world, "get", "dags", "-o", "jsonpath={.a b}", code=2)
    assert "dagruns" in setpoint(world, "api-resources")


def test_doctor_of_both_sides(world: World) -> None:
    found = json.loads(setpoint(world, "doctor", "-o", "json"))
    assert {"config", "context", "dispatcher", "clock", "version"} <= {check["name"] for check in found["checks"]}
    away = subprocess.run(
        command("doctor"), env={**environment(world), "SETPOINT_URL": "http://127.0.0.1:9"},
        capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert away.returncode == 1
    assert "failed   dispatcher" in away.stdout
    assert "setpoint up" in away.stdout
    stranger = subprocess.run(
        command("doctor"), env={**environment(world), "SETPOINT_TOKEN": "unknown"},
        capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert "failed   token" in stranger.stdout


def test_diff_says_what_follows(world: World, tmp_path: Path) -> None:
    path = tmp_path / "diamond.json"
    (tmp_path / "main.py").write_text("def run(context):\n    pass\n")

    def written(*tasks: dict[str, Any], cron: str) -> str:
        nightly = {"name": "nightly", "cron": cron, "timezone": "Europe/Berlin"}
        path.write_text(json.dumps(dag("diamond", *tasks, schedules=[nightly])))
        return str(path)

    world.apply(dag("diamond", task("a"), task("b", ["a"]), schedules=[{"name": "nightly", "cron": "0 3 * * *"}]))
    name, _ = started(world)
    said = setpoint(world, "diff", "-f", written(task("a", timeout="1h"), task("n", ["a"]), cron="0 4 * * *"), code=1)
    assert "tasks new: n" in said
    assert "tasks changed: a" in said
    assert "tasks that go: b;" in said
    assert "pools of these tasks: python" in said
    assert "schedule nightly changes" in said
    assert "0 3 * * * UTC: " in said
    assert re.search(r"0 4 \* \* \* Europe/Berlin: \S+ 04:00, \S+ 04:00, \S+ 04:00", said)
    assert f"1 runs in progress keep their revision: {name}" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["dag.spec.tasks"], "runtime <string> -required-", id="a list of objects"),
        pytest.param(["dag.spec.schedules.catchup"], "one of: none, latest, all", id="a choice"),
        pytest.param(["pool", "--recursive"], "    labels <map[string]string>", id="recursive"),
        pytest.param(["ds.spec.columns.type"], "one of: ", id="a short name"),
        pytest.param(["notifier.spec"], "slack <object>", id="a notifier"),
    ],
)
def test_explain_a_field(words: list[str], says: str) -> None:
    done = subprocess.run(command("explain", *words), capture_output=True, text=True, check=True, timeout=60)
    assert says in done.stdout


def test_explain_an_unknown_field_names_the_nearest() -> None:
    done = subprocess.run(command("explain", "dag.spec.taks"), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "did you mean dag.spec.tasks?" in done.stderr


def completed(world: World, folder: Path, line: str) -> list[str]:
    """Return what bash makes of a line when Tab is pressed."""
    program = folder / "setpoint"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m controller.cli.main "$@"\n')
    program.chmod(0o755)
    words = line.split(" ")
    array = " ".join(shlex.quote(word) for word in words)
    script = (
        f"source <(setpoint completion bash); COMP_WORDS=({array}); COMP_CWORD={len(words) - 1};"
        " complete -p setpoint >/dev/null; _setpoint 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    env = environment(world) | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("setpoint desc", ["describe"], id="a command"),
        pytest.param("setpoint config use", ["use-context"], id="a command of a group"),
        pytest.param("setpoint get po", ["pools"], id="a kind"),
        pytest.param("setpoint get --sort", ["--sort-by"], id="an option"),
        pytest.param("setpoint get runs -o js", ["json"], id="a format"),
        pytest.param("setpoint trigger di", ["diamond"], id="a name of the only kind"),
        pytest.param("setpoint describe pool/py", ["pool/python"], id="a name behind a slash"),
        pytest.param("setpoint get pool in", ["ingest"], id="a name behind its kind"),
    ],
)
def test_bash_completes(world: World, tmp_path: Path, line: str, expected: list[str]) -> None:
    assert completed(world, tmp_path, line) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_script(shell: str) -> None:
    script = subprocess.run(command("completion", shell), capture_output=True, text=True, check=True, timeout=60).stdout
    assert "setpoint completion words" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n", "/dev/stdin"], input=script, text=True, check=True, timeout=60)


def test_events_of_a_type_and_an_age(world: World) -> None:
    _, uid = started(world)
    insert = """INSERT INTO event (namespace, kind, name, run_uid, type, reason, message, at)
                SELECT 'default', 'DagRun', name, uid, %(type)s, %(reason)s, 'said', now() - %(age)s::interval
                  FROM run WHERE uid = %(uid)s"""
    for type_, reason, age in (("Warning", "Old", "2 hours"), ("Warning", "New", "1 min"), ("Normal", "Calm", "1 min")):
        world.execute(insert, type=type_, reason=reason, age=age, uid=uid)
    said = setpoint(world, "events", "--types=Warning", "--since", "10m")
    assert ("New" in said, "Old" in said, "Calm" in said) == (True, False, False)
    assert "neither Normal nor Warning" in setpoint(world, "events", "--types=Loud", code=2)
    assert "is no span" in setpoint(world, "events", "--since", "soon", code=2)


def test_logs_of_the_attempt_before_and_their_last_lines(world: World) -> None:
    name, uid = started(world)
    attempts = [world.attempt(uid, "a", "Failed", 1), world.attempt(uid, "a", "Failed", 2)]
    for number, attempt in enumerate(attempts, 1):
        key = log_prefix(AttemptId(attempt))
        obstore.put(world.objects, f"{key}000001.log", f"one of {number}\ntwo of {number}\n".encode())
    assert "two of 1" in setpoint(world, "logs", f"task/{name}.a", "--previous")
    last = setpoint(world, "logs", f"task/{name}.a", "--tail", "1")
    assert ("two of 2" in last, "one of 2" in last) == (True, False)
