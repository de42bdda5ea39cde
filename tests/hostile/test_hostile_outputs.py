"""A worker among strangers: messages, dispatchers and user code that are not what they should be. It lives, and says why."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.worker_world import TOKEN, Dispatcher, World, eventually, sqs_server, world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crds.protocol import Report

pytestmark = pytest.mark.xdist_group("hostile-outputs")
FINE = "def main(ctx): return {'fine': 1}"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One worker for all tests of the module: whatever one of them does to it, the next ones see."""
    with sqs_server() as url, world(tmp_path_factory.mktemp("hostile"), url) as here:
        here.start_worker(SETPOINT_SLOTS="2")
        yield here
        assert TOKEN not in here.worker_log()
        assert not [grant.token for grant in here.dispatcher.grants.values() if f'"{grant.token}"' in here.worker_log()]
        for broken in ("Exception in thread", "receive.broken", "slot.failed"):
            assert broken not in here.worker_log()


def alive(here: World) -> None:
    """Check that the worker still does what it should."""
    assert here.report(here.submit(FINE)).outputs == {"fine": 1}
    assert all(worker.poll() is None for worker in here.workers)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("", id="nothing"),
        pytest.param("x" * 200_000, id="200 kB"),
        pytest.param("null", id="null"),
        pytest.param("[" * 100_000, id="100,000 brackets"),
        pytest.param('{"attempt": "a/b/0/1", "delivery": 1, "x": ' + "[" * 50_000 + "]" * 50_000 + "}", id="deep"),
        pytest.param('{"attempt": 5, "delivery": 1}', id="a number for an attempt"),
        pytest.param('{"attempt": "a/b/0/1", "delivery": "1"}', id="text for a delivery"),
        pytest.param('{"attempt": "a/b/0/1"}', id="no delivery"),
        pytest.param('{"attempt": "", "delivery": 1}', id="no attempt"),
        pytest.param('{"attempt": "../../etc/passwd", "delivery": 1}', id="a path"),
        pytest.param('{"attempt": "a/b/0/1\\u0000", "delivery": 1}', id="NUL"),
        pytest.param('{"attempt": "a\\u0000/b/0/1", "delivery": 1}', id="NUL in a run"),
        pytest.param('{"attempt": "a/b/0/\\ud800", "delivery": 1}', id="half a surrogate pair"),
        pytest.param('{"attempt": "a/b/0/\u0661", "delivery": 1}', id="other digits"),
        pytest.param('{"attempt": "' + "a" * 100_000 + '/b/0/1", "delivery": 1}', id="a run of 100 kB"),
        pytest.param('{"attempt": "a/b/0/' + "9" * 5_000 + '", "delivery": 1}', id="a number of 5,000 digits"),
        pytest.param('{"attempt": "a/b/0/1", "delivery": ' + "9" * 5_000 + "}", id="a delivery of 5,000 digits"),
        pytest.param('{"Records": [{"eventSource": "aws:s3"}]}', id="another service's"),
        pytest.param("<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", id="XML"),
        pytest.param(json.dumps({"attempt": "other-namespace/task/0/1", "delivery": 1}), id="an attempt of nobody"),
    ],
)
def test_messages_of_strangers_are_deleted(here: World, body: str) -> None:
    here.send_body(body or " ", "stranger")
    eventually(lambda: here.messages() == 0, "the message's end")
    alive(here)


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        pytest.param("return {'a': float('nan')}", "OutputNotJson", "", id="NaN"),
        pytest.param("return {'a': [float('inf')]}", "OutputNotJson", "", id="infinity"),
        pytest.param("ctx.bookmark = float('nan')", "OutputNotJson", "", id="NaN as a bookmark"),
        pytest.param("return {'a': 10 ** 40}", "OutputNotJson", "64 bits", id="a large integer"),
        pytest.param("return {'a': 10 ** 5000}", "OutputNotJson", "", id="an integer of 5,000 digits"),
        pytest.param("return {'a': '\\ud800'}", "OutputNotJson", "surrogate", id="half a surrogate pair"),
        pytest.param("return {'a': 'x\\0'}", "OutputNotJson", "NUL", id="NUL"),
        pytest.param("return {'a': object()}", "OutputNotJson", "object", id="an object"),
        pytest.param("return {'a': {(1, 2): 3}}", "OutputNotJson", "", id="a key that is no text"),
        pytest.param("return {'a': b'x'}", "OutputNotJson", "bytes", id="bytes"),
        pytest.param("return {'a': {1, 2}}", "OutputNotJson", "set", id="a set"),
        pytest.param(
            "a = []\n    for _ in range(100): a = [a]\n    return {'a': a}", "OutputNotJson", "nested", id="100 deep"
        ),
        pytest.param(
            "a = []\n    for _ in range(100_000): a = [a]\n    return {'a': a}", "OutputNotJson", "", id="100,000 deep"
        ),
        pytest.param("a = []\n    a.append(a)\n    return {'a': a}", "OutputNotJson", "", id="a circle"),
        pytest.param("return {f'k{n}': n for n in range(20_000)}", "OutputTooLarge", "", id="20,000 outputs"),
        pytest.param("ctx.bookmark = 'x' * 70_000", "BookmarkTooLarge", "", id="a large bookmark"),
        pytest.param("ctx.progress('many')", "ValueError", "many", id="progress that is no number"),
        pytest.param("ctx.progress(1, '\\ud800')", "UnicodeEncodeError", "", id="progress that is no text"),
        pytest.param("ctx.artifact('../../x', b'')", "BadArtifactName", "", id="a path for an artifact"),
        pytest.param("ctx.artifact('/etc/x', b'')", "BadArtifactName", "", id="an absolute artifact"),
        pytest.param("raise type('E' * 10**6, (Exception,), {})('x')", "E" * 100, "x", id="a class of 1 MB"),
        pytest.param("raise Exception('x' * 10**7)", "Exception", "xxx", id="a message of 10 MB"),
        pytest.param(
            "raise Exception('\\0\\ud800\\x1b[2J')", "Exception", "\ufffd?\x1b[2J", id="a message that is no text"
        ),
        pytest.param(
            "raise type('M', (type,), {'__name__': property(lambda s: 5)})('Odd', (Exception,), {})('x')",
            "Odd",
            "x",
            id="a class that lies about its name",
        ),
        pytest.param(
            "from workers.task import TaskFailed\n    raise TaskFailed(['no', 'text'], 'x', 5)",
            "['no', 'text']",
            "x",
            id="ours",
        ),
        pytest.param(
            "raise type('E', (SystemExit,), {'code': property(lambda s: s)})()", "", "", id="an exit that is no code"
        ),
        pytest.param(
            "import sys\n    sys.setrecursionlimit(50)\n    return main(ctx)", "RecursionError", "", id="recursion"
        ),
    ],
)
def test_hostile_results_fail_their_attempt_only(here: World, code: str, kind: str, message: str) -> None:
    report: Report = here.report(here.submit(f"def main(ctx):\n    {code}"))
    assert report.outcome == "failed", report
    assert report.error is not None
    assert report.error.kind.startswith(kind)
    assert message in report.error.message
    assert len(json.dumps([report.error.kind, report.error.message, report.error.traceback])) < 64 * 1024
    alive(here)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("ctx.progress(2**70, 'x' * 10**7)", id="progress of 10 MB"),
        pytest.param("[ctx.progress(n, 'x') for n in range(20_000)]", id="progress of 20,000 steps"),
        pytest.param("print('x' * 10**7)", id="a line of 10 MB"),
        pytest.param("ctx.logger.info('\\ud800\\0' * 10**6)", id="a record that is no text"),
        pytest.param("import os; os.write(1, bytes(range(256)) * 1000)", id="bytes that are no text"),
        pytest.param("return {1: 2, None: 3, True: 4}", id="keys that become text"),
        pytest.param("return 'x' * 10**7", id="10 MB, kept by reference"),
    ],
)
def test_much_is_cut_or_kept_elsewhere(here: World, code: str) -> None:
    attempt = here.submit(f"def main(ctx):\n    {code}\n")
    report = here.report(attempt)
    assert report.outcome == "succeeded", report
    assert len(json.dumps(report.outputs)) < 64 * 1024
    assert all(len(p.message) <= 1_000 for beat in here.dispatcher.heartbeats for p in beat.progress.values())
    alive(here)


@pytest.mark.parametrize(
    "member",
    [
        pytest.param({"task": {"runtime": "none"}}, id="a runtime that is none"),
        pytest.param({"task": {"with": {"entrypoint": "os:system"}}}, id="a module that is not the task's"),
        pytest.param({"digest": "../../etc/passwd"}, id="a path for a bundle"),
        pytest.param({"digest": "0" * 64}, id="a bundle that nobody stored"),
        pytest.param({"timeout": 1e18}, id="a timeout of ages"),
        pytest.param({"tick": "never"}, id="a tick that is no time"),
        pytest.param({"params": {"a": json.loads("[" * 200 + "]" * 200)}}, id="deep"),
    ],
)
def test_odd_grants_end_with_a_report(here: World, member: dict[str, Any]) -> None:
    report = here.report(here.submit(FINE, **member))
    assert report.outcome in {"succeeded", "failed", "lost"}
    alive(here)


MALFORMED = [
    b"",
    b"null",
    b"[]",
    b"<html>",
    b"\xff",
    b'{"grants": 5}',
    b'{"grants": [{}]}',
    b'{"attempts": {"a": "explode"}}',
    b'{"x": ' + b"[" * 9_000 + b"]" * 9_000 + b"}",
    b'{"refusals": [{"attempt": "a", "action": "drop", "reason": "\\ud800"}]}',
]


@contextmanager
def interposed(dispatcher: Dispatcher, answers: list[bytes]) -> Iterator[str]:
    """Serve a dispatcher whose first answers to each path are malformed."""
    left = {path: list(answers) for path in ("/v1/claims", "/v1/heartbeats", "/v1/reports")}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = left[self.path].pop() if left[self.path] else _answer(dispatcher, self.path, body)
            self.send_response_only(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _answer(dispatcher: Dispatcher, path: str, body: bytes) -> bytes:
    import msgspec  # noqa: PLC0415 - only here

    with dispatcher.lock:
        return msgspec.json.encode(getattr(dispatcher, "on_" + path.removeprefix("/v1/"))(body))


def test_malformed_answers_are_asked_for_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    with sqs_server() as url, world(tmp_path_factory.mktemp("malformed"), url) as here:
        attempt = here.submit(FINE)
        with interposed(here.dispatcher, MALFORMED[:4]) as dispatcher:
            here.start_worker(SETPOINT_URL=dispatcher)
            assert here.report(attempt).outcome == "succeeded"
            assert here.workers[0].poll() is None
