"""What is reported of an attempt, from what was seen of it."""

from __future__ import annotations

import signal

import pytest

from crds.names import AttemptId
from crds.protocol import DatasetWrite, Grant, TaskError
from workers.endings import Seen, ending, infrastructure
from workers.frames import Finished
from workers.held import Stop

GRANT = Grant(
    attempt=AttemptId("run/task/0/1"),
    token="token",
    task={},
    dag="dag",
    run="run",
    namespace="default",
    number=1,
    timeout_seconds=90,
    memory_bytes=512 * 2**20,
)
DONE = Finished(status="succeeded")
FAILED = Finished(status="failed", error=TaskError("UserError", "ValueError", "bad"))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(Seen(DONE), ("succeeded", None, None), id="success"),
        pytest.param(Seen(FAILED, exit_code=None), ("failed", "UserError", "ValueError"), id="failure"),
        pytest.param(Seen(Finished(status="stale")), None, id="stale at the commit"),
        pytest.param(
            Seen(Finished(status="lost", error=TaskError("InfrastructureError", "OperationalError"))),
            ("lost", "InfrastructureError", "OperationalError"),
            id="ours, seen by the task",
        ),
        pytest.param(Seen(DONE, Stop.CANCEL), ("succeeded", None, None), id="done before the cancel"),
        pytest.param(Seen(DONE, Stop.TIMEOUT), ("succeeded", None, None), id="done before the timeout"),
        pytest.param(Seen(DONE, Stop.STALE), None, id="done, but superseded"),
        pytest.param(Seen(FAILED, Stop.CANCEL), ("cancelled", "Cancelled", ""), id="failed because of the cancel"),
        pytest.param(Seen(FAILED, Stop.EVICT), ("evicted", "Evicted", ""), id="evicted"),
        pytest.param(Seen(None, Stop.EVICT, -9), ("evicted", "Evicted", ""), id="evicted and killed"),
        pytest.param(Seen(None, Stop.TIMEOUT, -9), ("timedOut", "TimedOut", "Timeout"), id="timed out"),
        pytest.param(Seen(None, Stop.MEMORY, -9), ("failed", "OutOfMemory", "OutOfMemory"), id="above its memory"),
        pytest.param(Seen(None, Stop.STALE, -9), None, id="superseded"),
        pytest.param(Seen(None, None, 3), ("failed", "UserError", "ExitCode"), id="exit"),
        pytest.param(Seen(None, None, 0), ("failed", "UserError", "ExitCode"), id="exit 0"),
        pytest.param(Seen(None, None, -signal.SIGKILL), ("lost", "ChildDied", ""), id="killed by someone"),
        pytest.param(Seen(None, None, -signal.SIGSEGV), ("lost", "ChildDied", ""), id="crashed"),
        pytest.param(Seen(None, None, -99), ("lost", "ChildDied", ""), id="unknown signal"),
        pytest.param(
            Seen(None, None, -signal.SIGKILL, out_of_memory=True),
            ("failed", "OutOfMemory", "OutOfMemory"),
            id="killed by the kernel for memory",
        ),
        pytest.param(
            Seen(None, None, 137, out_of_memory=True),
            ("failed", "OutOfMemory", "OutOfMemory"),
            id="its process was killed for memory",
        ),
        pytest.param(
            Seen(None, None, -signal.SIGSEGV, out_of_memory=True), ("lost", "ChildDied", ""), id="crash near the limit"
        ),
        pytest.param(Seen(None, None, -9, broken="nonsense"), ("lost", "ChildDied", ""), id="broken stream"),
        pytest.param(Seen(None, None, 1, started=False), ("lost", "InfrastructureError", ""), id="did not start"),
    ],
)
def test_ending(seen: Seen, expected: tuple[str, str | None, str | None] | None) -> None:
    report = ending(GRANT, seen)

    if expected is None:
        assert report is None
        return
    assert report is not None
    error = report.error
    assert (report.outcome, error and error.reason, error and error.kind) == expected
    assert (report.attempt, report.token) == (GRANT.attempt, GRANT.token)


def test_success_carries_everything() -> None:
    write = DatasetWrite(dataset="d", uid="u", mode="replace")
    finished = Finished("succeeded", {"a": 1}, [write], {"etag": "x"}, {"rows": 7.0})

    report = ending(GRANT, Seen(finished))

    assert report is not None
    assert (report.outputs, report.writes, report.bookmark) == ({"a": 1}, [write], {"etag": "x"})
    assert report.metrics == {"rows": 7.0}


def test_messages_say_what_to_do() -> None:
    report = ending(GRANT, Seen(None, Stop.MEMORY))
    assert report is not None
    assert report.error is not None
    assert report.error.message == (
        "needed more memory than its limit of 512 MiB; raise `memory`, or read less at once"
    )


def test_what_kept_us_from_running_it_is_named() -> None:
    report = infrastructure(GRANT, "the worker could not run the attempt", OSError("no space left"))

    assert report.error is not None
    assert (report.outcome, report.error.kind) == ("lost", "OSError")
    assert report.error.message == "the worker could not run the attempt: OSError: no space left"
