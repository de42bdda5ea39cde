"""A real worker process against the local SQS and a dispatcher that follows the protocol."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from typing import TYPE_CHECKING

import psutil
import pytest
from worker_world import TOKEN, World, alive, eventually, exited, secrets_server, sqs_server, world

from crds.names import AttemptId

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

NOTHING = "def main(ctx): return {}"


@pytest.fixture(scope="session")
def sqs_url() -> Iterator[str]:
    with sqs_server() as url:
        yield url


@pytest.fixture
def here(tmp_path: Path, sqs_url: str) -> Iterator[World]:
    with world(tmp_path, sqs_url) as made:
        yield made


def test_runs_an_attempt_to_its_report(here: World) -> None:
    attempt = here.submit("def main(ctx): return {'answer': 42}")
    here.start_worker()

    report = here.report(attempt)

    assert report.outcome == "succeeded"
    assert report.outputs == {"answer": 42}
    assert report.token == here.dispatcher.grants[attempt].token
    eventually(lambda: here.messages() == 0, "deleting the message behind the claim")
    assert here.log(attempt) == ""
    # The pool knows the worker before it claims.
    assert here.dispatcher.heartbeats[0].attempts == []
    assert here.dispatcher.heartbeats[0].worker == here.dispatcher.claims[0].worker


@pytest.mark.parametrize(
    ("code", "outcome", "reason", "kind", "message"),
    [
        pytest.param(
            "def main(ctx): raise ValueError('no such carrier')",
            "failed",
            "UserError",
            "ValueError",
            "no such carrier",
            id="exception",
        ),
        pytest.param(
            "import sys\ndef main(ctx): sys.exit(3)", "failed", "UserError", "ExitCode", "sys.exit(3)", id="sys.exit"
        ),
        pytest.param(
            "import os\ndef main(ctx): os._exit(7)", "failed", "UserError", "ExitCode", "code 7", id="os._exit"
        ),
        pytest.param(
            "import os\ndef main(ctx): os._exit(0)", "failed", "UserError", "ExitCode", "code 0", id="os._exit(0)"
        ),
        pytest.param(
            "def main(ctx): raise KeyboardInterrupt", "failed", "UserError", "KeyboardInterrupt", "", id="interrupt"
        ),
        pytest.param(
            "import os, signal\ndef main(ctx): os.kill(os.getpid(), signal.SIGINT)",
            "failed",
            "UserError",
            "KeyboardInterrupt",
            "",
            id="Ctrl-C to itself",
        ),
        pytest.param(
            "def main(ctx): return bytearray(1 << 62)", "failed", "OutOfMemory", "OutOfMemory", "", id="MemoryError"
        ),
        pytest.param(
            "import os, signal\ndef main(ctx): os.kill(os.getpid(), signal.SIGSEGV)",
            "lost",
            "ChildDied",
            "",
            "SIGSEGV",
            id="crash",
        ),
        pytest.param(
            "import os, time\ndef main(ctx):\n    os.closerange(3, 256)\n    time.sleep(60)",
            "lost",
            "ChildDied",
            "",
            "file descriptors",
            id="closes what is ours",
        ),
        pytest.param(
            "def main(ctx): return {'when': object()}", "failed", "UserError", "", "JSON", id="outputs are no JSON"
        ),
        pytest.param(
            "def main(ctx): return {'text': 'a' + chr(0)}", "failed", "UserError", "OutputNotJson", "NUL", id="NUL"
        ),
        pytest.param("def main(ctx): ctx.bookmark = object()", "failed", "UserError", "NotJson", "JSON", id="bookmark"),
        pytest.param(
            "def main(ctx): raise ValueError(chr(0) + chr(0xd800))", "failed", "UserError", "ValueError", "?", id="odd"
        ),
        pytest.param("import nowhere\n", "failed", "UserError", "ModuleNotFoundError", "nowhere", id="import"),
        pytest.param(
            "class Odd(Exception):\n    def __str__(self): raise RuntimeError\ndef main(ctx): raise Odd",
            "failed",
            "UserError",
            "Odd",
            "",
            id="exception that cannot be shown",
        ),
        pytest.param(
            "def main(ctx): raise ValueError('x' * 1_000_000)", "failed", "UserError", "ValueError", "xxx", id="huge"
        ),
    ],
)
def test_how_user_code_fails(here: World, code: str, outcome: str, reason: str, kind: str, message: str) -> None:
    attempt = here.submit(code)
    here.start_worker()

    report = here.report(attempt)

    assert report.error is not None
    assert (report.outcome, report.error.reason) == (outcome, reason)
    assert kind in report.error.kind
    assert message in report.error.message
    assert len(report.error.message) + len(report.error.traceback) <= 16 * 1024
    # The worker took no harm.
    assert here.report(here.submit(NOTHING)).outcome == "succeeded"


def test_traceback_shows_the_users_frames_only(here: World) -> None:
    code = "def inner():\n    return {}['missing']\n\ndef main(ctx):\n    inner()\n"
    attempt = here.submit(code)
    here.start_worker()

    error = here.report(attempt).error

    assert error is not None
    assert error.traceback.startswith('Traceback (most recent call last):\n  File "job.py", line 5, in main\n')
    assert "workers/" not in error.traceback


def test_killed_child_is_lost(here: World) -> None:
    attempt = here.submit(_sleeps(here, "pid"))
    here.start_worker()

    os.kill(here.running("pid"), signal.SIGKILL)

    report = here.report(attempt)
    assert report.error is not None
    assert (report.outcome, report.error.reason) == ("lost", "ChildDied")
    assert "SIGKILL" in report.error.message


def test_killed_worker_takes_everything_with_it(here: World) -> None:
    code = f"""
import os, subprocess, time
def main(ctx):
    other = subprocess.Popen(["sleep", "300"])
    open({str(here.folder / "grandchild")!r}, "w").write(str(other.pid))
    open({str(here.folder / "child")!r}, "w").write(str(os.getpid()))
    time.sleep(300)
"""
    here.submit(code)
    worker = here.start_worker()
    pids = [here.running("child"), here.running("grandchild")]

    worker.kill()

    eventually(lambda: not any(alive(pid) for pid in pids), "the end of child and grandchild")
    # What was not claimed yet goes to the next worker, which also cleans up.
    here.start_worker()
    assert here.report(here.submit(NOTHING)).outcome == "succeeded"
    work = here.folder / "cache" / "work"
    assert len([folder for folder in work.iterdir() if folder.is_dir()]) == 1


def test_stopped_worker_learns_that_it_was_superseded(here: World) -> None:
    attempt = here.submit(_sleeps(here, "pid"))
    worker = here.start_worker()
    child = here.running("pid")

    worker.send_signal(signal.SIGSTOP)
    here.dispatcher.verdicts[attempt] = "stale"
    worker.send_signal(signal.SIGCONT)

    eventually(lambda: not alive(child), "the end of the child")
    assert here.report(here.submit(NOTHING)).outcome == "succeeded"
    assert attempt not in here.dispatcher.reports
    eventually(lambda: attempt not in here.dispatcher.heartbeats[-1].attempts, "forgetting the attempt")


def test_sigterm_lets_an_attempt_finish_within_the_grace(here: World) -> None:
    code = f"""
import pathlib, time
def main(ctx):
    pathlib.Path({str(here.folder / "pid")!r}).write_text("1")
    while not pathlib.Path({str(here.folder / "go")!r}).exists():
        time.sleep(0.02)
    return {{"done": True}}
"""
    attempt = here.submit(code)
    worker = here.start_worker()
    here.running("pid")

    worker.terminate()
    waiting = here.submit(NOTHING)
    eventually(lambda: here.events("worker.stopping"), "stopping")
    (here.folder / "go").touch()

    assert exited(worker) == 0
    assert here.report(attempt).outputs == {"done": True}
    assert waiting not in here.dispatcher.claimed


def test_sigterm_evicts_what_does_not_finish(here: World) -> None:
    attempt = here.submit(_sleeps(here, "pid"))
    worker = here.start_worker(SETPOINT_GRACE_SECONDS="1")
    child = here.running("pid")

    worker.terminate()

    assert exited(worker) == 0
    assert here.report(attempt).outcome == "evicted"
    assert not alive(child)


def test_sigterm_ends_the_worker_also_while_no_one_takes_its_report(here: World) -> None:
    attempt = here.submit(_sleeps(here, "pid"))
    worker = here.start_worker(SETPOINT_GRACE_SECONDS="1")
    child = here.running("pid")

    here.dispatcher.away = True
    worker.terminate()

    assert exited(worker) == 0
    assert not alive(child)
    assert attempt not in here.dispatcher.reports


def test_sigterm_does_not_wait_for_a_claim_without_answer(here: World) -> None:
    here.start_worker()
    eventually(lambda: here.dispatcher.heartbeats, "the first heartbeat")
    here.dispatcher.lost_answers["/v1/claims"] = 1_000
    here.submit(NOTHING)
    eventually(lambda: len(here.dispatcher.claims) > 2, "repeated claims")

    here.workers[0].terminate()

    assert exited(here.workers[0]) == 0
    assert len({claim.request for claim in here.dispatcher.claims}) == 1


def test_frozen_task_is_timed_out(here: World) -> None:
    attempt = here.submit(_sleeps(here, "pid"), timeout=2)
    here.start_worker()

    os.kill(here.running("pid"), signal.SIGSTOP)

    assert here.report(attempt).outcome == "timedOut"


def test_sigterm_ends_an_idle_worker_at_once(here: World) -> None:
    worker = here.start_worker()
    eventually(lambda: here.dispatcher.heartbeats, "the first heartbeat")

    worker.terminate()

    assert exited(worker) == 0


def test_cancel_runs_finally_blocks(here: World) -> None:
    code = f"""
import os, pathlib, time
def main(ctx):
    try:
        pathlib.Path({str(here.folder / "pid")!r}).write_text(str(os.getpid()))
        time.sleep(300)
    except Exception:
        pass
    finally:
        pathlib.Path({str(here.folder / "finally")!r}).touch()
"""
    attempt = here.submit(code)
    here.start_worker()
    child = here.running("pid")

    here.dispatcher.verdicts[attempt] = "cancel"

    assert here.report(attempt).outcome == "cancelled"
    assert (here.folder / "finally").exists()
    assert not alive(child)


@pytest.mark.pain("T23")
def test_timeout_kills_a_task_that_will_not_stop(here: World) -> None:
    code = f"""
import os, pathlib, signal, subprocess, time
def main(ctx):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    other = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 300"])
    pathlib.Path({str(here.folder / "pid")!r}).write_text(str(other.pid))
    time.sleep(300)
"""
    attempt = here.submit(code, timeout=1)
    here.start_worker()
    grandchild = here.running("pid")

    report = here.report(attempt)

    assert report.error is not None
    assert (report.outcome, report.error.reason) == ("timedOut", "TimedOut")
    assert "1 s" in report.error.message
    eventually(lambda: not alive(grandchild), "the end of the grandchild")


@pytest.mark.parametrize(
    "hog",
    [
        pytest.param("data = b'x' * 500_000_000; time.sleep(300)", id="in the task"),
        pytest.param(
            "subprocess.run([sys.executable, '-c', 'import time; d = b\"x\" * 500_000_000; time.sleep(300)'])",
            id="in a process of the task",
        ),
    ],
)
def test_memory_limit_counts_the_whole_family(here: World, hog: str) -> None:
    code = f"import subprocess, sys, time\ndef main(ctx):\n    {hog}\n"
    attempt = here.submit(code, memory_bytes=400 * 2**20)
    here.start_worker()

    report = here.report(attempt)

    assert report.error is not None
    assert (report.outcome, report.error.reason) == ("failed", "OutOfMemory")
    assert "400 MiB" in report.error.message


def test_log_is_kept_while_the_attempt_runs(here: World) -> None:
    code = f"""
import logging, os, pathlib, subprocess, sys, time
def main(ctx):
    print("from print, übergroß")
    os.write(2, b"from the descriptor\\n")
    subprocess.run(["sh", "-c", "echo from a process"])
    logging.getLogger("mine").warning("from logging")
    while not pathlib.Path({str(here.folder / "go")!r}).exists():
        time.sleep(0.02)
    sys.stdout.write("no newline at the end")
"""
    attempt = here.submit(code)
    here.start_worker()

    early = eventually(lambda: here.log(attempt), "the first chunk")
    assert attempt not in here.dispatcher.reports
    (here.folder / "go").touch()
    here.report(attempt)

    assert " stdout from print, übergroß\n" in early
    lines = [line.split(" ", 1)[1] for line in here.log(attempt).splitlines()]
    assert sorted(lines) == [
        "log WARNING mine: from logging",
        "stderr from the descriptor",
        "stdout from a process",
        "stdout from print, übergroß",
        "stdout no newline at the end",
    ]


def test_log_of_a_dead_child_is_complete(here: World) -> None:
    code = "import os\ndef main(ctx):\n    os.write(1, b'last words\\n' * 20_000)\n    os._exit(1)\n"
    attempt = here.submit(code)
    here.start_worker()

    here.report(attempt)

    assert here.log(attempt).count("last words") == 20_000


def test_log_is_bounded(here: World) -> None:
    code = "def main(ctx):\n    for _ in range(30_000):\n        print('x' * 1000)\n"
    attempt = here.submit(code)
    here.start_worker()

    assert here.report(attempt).outcome == "succeeded"

    log = here.log(attempt)
    assert len(log) < 11 * 2**20
    assert "truncated" in log.splitlines()[-1]


def test_child_is_reused_for_the_same_code_and_starts_clean(here: World) -> None:
    code = """
import os, sys
runs = 0
def main(ctx):
    global runs
    runs += 1
    before = os.environ.get("LEFT"), os.getcwd(), len(sys.path)
    os.environ["LEFT"] = "behind"
    os.chdir("/tmp")
    sys.path.append("/nowhere")
    return {"pid": os.getpid(), "runs": runs, "before": [before[0], before[2]], "cwd": before[1]}
"""
    digest = here.bundle(code)
    here.start_worker(SETPOINT_SLOTS="1")
    first, second = (here.report(here.send(here.grant(digest=digest))).outputs for _ in range(2))
    other = here.report(here.submit(code + "\n# another revision")).outputs

    assert first["pid"] == second["pid"] != other["pid"]
    assert (first["runs"], second["runs"], other["runs"]) == (1, 2, 1)
    assert first["before"] == second["before"]
    assert first["cwd"] != second["cwd"]


@pytest.mark.parametrize(
    "left",
    [
        pytest.param("threading.Thread(target=time.sleep, args=(300,), daemon=True).start()", id="thread"),
        pytest.param("subprocess.Popen(['sleep', '300'])", id="process"),
        pytest.param("sys.stdout.close()", id="closed stream"),
    ],
)
def test_child_that_left_something_behind_is_not_reused(here: World, left: str) -> None:
    code = f"import os, subprocess, sys, threading, time\ndef main(ctx):\n    {left}\n    return {{'pid': os.getpid()}}"
    digest = here.bundle(code)
    here.start_worker(SETPOINT_SLOTS="1")

    first, second = (here.report(here.send(here.grant(digest=digest))).outputs for _ in range(2))

    assert first["pid"] != second["pid"]
    eventually(lambda: not alive(first["pid"]), "the end of the first child")


def test_children_killed_while_idle_harm_no_one(here: World) -> None:
    digest = here.bundle(NOTHING)
    worker = here.start_worker(SETPOINT_SLOTS="1")
    here.report(here.send(here.grant(digest=digest)))
    # The spare that replaced the child in use is there: warm child, spare, guard.
    eventually(lambda: len(_children(worker)) == 2, "a warm child and a spare")

    for child in _children(worker):
        os.kill(child, signal.SIGKILL)

    assert here.report(here.send(here.grant(digest=digest))).outcome == "succeeded"


def test_child_knows_no_token_of_the_pool(here: World) -> None:
    code = "import os\ndef main(ctx): return {'names': sorted(os.environ), 'values': list(os.environ.values())}"
    attempt = here.submit(code)
    here.start_worker(ECS_AGENT_URI="", POLARS_MAX_THREADS="2")

    outputs = here.report(attempt).outputs

    assert not [name for name in outputs["names"] if name.startswith(("SETPOINT_", "ECS_"))]
    assert TOKEN not in outputs["values"]
    assert "POLARS_MAX_THREADS" in outputs["names"]


def test_dispatcher_away_for_a_while(here: World) -> None:
    attempt = here.submit(_sleeps(here, "pid", then="go"))
    here.start_worker()
    here.running("pid")

    here.dispatcher.away = True
    (here.folder / "go").touch()
    waiting = here.submit(NOTHING)
    eventually(lambda: here.events("report.repeated"), "a report that finds no one")
    here.dispatcher.away = False

    assert here.report(attempt).outcome == "succeeded"
    assert here.report(waiting).outcome == "succeeded"


@pytest.mark.pain("T3")
def test_claim_whose_answer_is_lost_is_repeated(here: World) -> None:
    here.dispatcher.lost_answers["/v1/claims"] = 2
    attempt = here.submit("def main(ctx): print('ran')")
    here.start_worker()

    assert here.report(attempt).outcome == "succeeded"
    assert len({claim.request for claim in here.dispatcher.claims}) == 1
    assert len(here.dispatcher.claims) == 3
    assert here.log(attempt).count("ran") == 1


@pytest.mark.pain("T24")
def test_a_claim_is_named_in_the_heartbeats_until_it_is_answered(here: World) -> None:
    """What it took may be ours, so it must not be missed."""
    here.dispatcher.lost_answers["/v1/claims"] = 1_000_000
    attempt = here.submit(NOTHING)
    here.start_worker()

    named = eventually(lambda: next((h.awaited for h in here.dispatcher.heartbeats if h.awaited), None), "naming it")
    here.dispatcher.lost_answers["/v1/claims"] = 0
    assert here.report(attempt).outcome == "succeeded"
    assert named == [here.dispatcher.claims[0].request]
    eventually(lambda: here.dispatcher.heartbeats[-1].awaited == [], "the end of the waiting")


@pytest.mark.pain("T3")
def test_report_whose_answer_is_lost_is_repeated(here: World) -> None:
    here.dispatcher.lost_answers["/v1/reports"] = 2
    attempt = here.submit(NOTHING)
    here.start_worker()

    here.report(attempt)

    eventually(lambda: here.events("attempt.reported"), "the end of the repeating")
    assert len(here.dispatcher.report_requests) == 3
    eventually(lambda: here.dispatcher.heartbeats[-1].attempts == [], "forgetting the attempt")


@pytest.mark.pain("T3")
def test_stale_report_ends_the_attempt(here: World) -> None:
    attempt = here.grant(NOTHING)
    here.dispatcher.stale.add(attempt)
    here.send(attempt)
    here.start_worker()

    assert eventually(lambda: here.events("attempt.reported"), "an answer")[0]["verdict"] == "stale"


def test_messages_that_lead_to_nothing(here: World) -> None:
    refused = here.grant(NOTHING)
    here.dispatcher.claimed.add(refused)
    kept = here.grant(NOTHING)
    here.dispatcher.later.add(kept)
    for body in ("no JSON", "{}", '{"attempt": 1, "delivery": 1}', '{"attempt": "a/b", "delivery": 1}'):
        here.send_body(body, body[:4].strip("{} ").replace('"', "") or "empty")
    here.send(refused)
    here.send(kept)
    here.start_worker()

    eventually(lambda: here.messages() == 1, "only the kept message is left")

    assert AttemptId(kept) not in here.dispatcher.reports
    assert here.report(here.submit(NOTHING)).outcome == "succeeded"


@pytest.mark.pain("T2")
def test_redelivered_message_is_dropped(here: World) -> None:
    attempt = here.submit(NOTHING)
    here.start_worker()
    here.report(attempt)

    here.send(attempt, delivery=2)

    eventually(lambda: any(event["refused"] for event in here.events("claim")), "the refusal")
    eventually(lambda: here.messages() == 0, "deleting the message")


def test_no_more_is_claimed_than_there_are_slots(here: World) -> None:
    digest = here.bundle(_sleeps(here, "pid", then="go"))
    attempts = [here.send(here.grant(digest=digest)) for _ in range(4)]
    here.start_worker(SETPOINT_SLOTS="2")
    eventually(lambda: len(here.dispatcher.claimed) == 2, "two claims")
    # Two more heartbeats: it had the time to claim too much.
    seen = len(here.dispatcher.heartbeats)
    eventually(lambda: len(here.dispatcher.heartbeats) >= seen + 2, "two more heartbeats")

    assert len(here.dispatcher.claimed) == 2
    (here.folder / "go").touch()
    assert [here.report(attempt).outcome for attempt in attempts] == ["succeeded"] * 4


def test_drain_finishes_and_exits(here: World) -> None:
    attempt = here.submit(_sleeps(here, "pid", then="go"))
    worker = here.start_worker()
    here.running("pid")

    here.dispatcher.drain = True
    eventually(lambda: here.events("worker.draining"), "draining")
    waiting = here.submit(NOTHING)
    (here.folder / "go").touch()

    assert exited(worker) == 0
    assert here.report(attempt).outcome == "succeeded"
    assert waiting not in here.dispatcher.claimed


def test_missing_bundle_is_not_the_tasks_fault(here: World) -> None:
    attempt = here.send(here.grant(digest="0" * 64))
    here.start_worker()

    report = here.report(attempt)

    assert report.error is not None
    assert (report.outcome, report.error.reason) == ("lost", "InfrastructureError")


def test_progress_is_in_the_heartbeat(here: World) -> None:
    wait = _sleeps(here, "pid").replace("main(ctx)", "wait()")
    code = f"{wait}\ndef main(ctx):\n    ctx.progress(7, 'seven rows')\n    wait()\n"
    attempt = here.submit(code)
    here.start_worker()

    beat = eventually(lambda: [one for one in here.dispatcher.heartbeats if one.progress], "progress")[0]

    assert (beat.progress[attempt].rows, beat.progress[attempt].message) == (7, "seven rows")


def test_secrets_are_in_no_log_and_no_error(here: World) -> None:
    file = here.folder / "secrets.yaml"
    file.write_text(f"pools/python: {TOKEN}\ndata/login: {{password: correct-horse}}\n")
    file.chmod(0o600)
    code = """
import json, logging
def main(ctx):
    login = ctx.secrets["login"]
    print("got", login)
    logging.error("password %s", json.loads(login)["password"])
    raise ValueError("cannot log in as correct-horse")
"""
    attempt = here.submit(code, task={"secrets": {"login": "data/login"}})
    with secrets_server(file) as url:
        here.start_worker(
            SETPOINT_POOL_TOKEN="", SETPOINT_POOL_TOKEN_SECRET="pools/python", AWS_ENDPOINT_URL_SECRETS_MANAGER=url
        )
        error = here.report(attempt).error

    assert error is not None
    assert error.message == "cannot log in as ***"
    assert "correct-horse" not in error.traceback + here.log(attempt) + here.worker_log()
    assert "log ERROR root: password ***" in here.log(attempt)


def test_metrics(here: World) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    attempt = here.submit(NOTHING)
    here.start_worker(SETPOINT_METRICS_PORT=str(port))
    here.report(attempt)

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()

    assert 'setpoint_worker_attempts_total{outcome="succeeded"} 1.0' in text
    assert "setpoint_worker_slots 2.0" in text
    assert "setpoint_worker_claim_seconds_count 1.0" in text


def test_unknown_setting_is_an_error(here: World) -> None:
    worker = here.start_worker(SETPOINT_SLOT="3")

    assert exited(worker) == 2
    assert "SETPOINT_SLOT: unknown setting; did you mean SETPOINT_SLOTS?" in here.worker_log()


def _children(worker: subprocess.Popen[bytes]) -> list[int]:
    family = psutil.Process(worker.pid).children()
    return [one.pid for one in family if alive(one.pid) and "workers.child" in one.cmdline()]


def _sleeps(here: World, marker: str, then: str = "never") -> str:
    """Return code that writes its pid into `marker` and waits for the file `then`."""
    return f"""
import os, pathlib, time
def main(ctx):
    pathlib.Path({str(here.folder / marker)!r}).write_text(str(os.getpid()))
    while not pathlib.Path({str(here.folder / then)!r}).exists():
        time.sleep(0.02)
    return {{}}
"""
