"""How bytes of a stream become lines, chunks and objects, without secrets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crds.names import AttemptId
from workers.clock import Clock
from workers.logs import MAX_LINE_BYTES, MAX_LOG_CHARS, AttemptLog, Chunk
from workers.redaction import Redaction

ATTEMPT = AttemptId("run/task/0/1")


class FixedClock(Clock):
    def now(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


class Shelf:
    """Keeps chunks; each is done at once unless `slow`."""

    def __init__(self, *, slow: bool = False) -> None:
        self.chunks: list[Chunk] = []
        self.slow = slow

    def ship(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        if not self.slow:
            chunk.finish()

    @property
    def lines(self) -> list[str]:
        return [line[25:] for chunk in self.chunks for line in chunk.data.decode().splitlines()]


def make(shelf: Shelf, redaction: Redaction | None = None) -> AttemptLog:
    return AttemptLog(ATTEMPT, redaction or Redaction(), shelf, FixedClock())


@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        pytest.param([b"one\n", b"two\n"], ["stdout one", "stdout two"], id="lines"),
        pytest.param([b"on", b"e\ntw", b"o"], ["stdout one", "stdout two"], id="pieces, and no newline at the end"),
        pytest.param([b"one\r\ntwo\r\n"], ["stdout one", "stdout two"], id="carriage returns"),
        pytest.param([b"\n\n"], ["stdout ", "stdout "], id="empty lines"),
        pytest.param(["ü".encode()[:1], "ü".encode()[1:] + b"\n"], ["stdout ü"], id="a character in two pieces"),
        pytest.param([b"\xff\xfe\n"], ["stdout \ufffd\ufffd"], id="no text"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_lines(parts: list[bytes], lines: list[str]) -> None:
    shelf = Shelf()
    log = make(shelf)

    for part in parts:
        log.write("stdout", part)
    log.close()

    assert shelf.lines == lines


def test_endless_line_is_cut() -> None:
    shelf = Shelf()
    log = make(shelf)

    log.write("stderr", b"x" * (2 * MAX_LINE_BYTES + 1))
    log.close()

    assert [len(line) - len("stderr ") for line in shelf.lines] == [MAX_LINE_BYTES, MAX_LINE_BYTES, 1]


def test_objects_are_numbered_and_stamped() -> None:
    shelf = Shelf()
    log = make(shelf)

    log.write("stdout", b"one\n")
    log.flush()
    log.flush()
    log.write("stderr", b"two\n")
    log.close()

    assert [chunk.key for chunk in shelf.chunks] == ["logs/run/task/0/1/000001.log", "logs/run/task/0/1/000002.log"]
    assert shelf.chunks[0].data == b"2026-01-02T03:04:05.678Z stdout one\n"


def test_one_chunk_at_a_time() -> None:
    shelf = Shelf(slow=True)
    log = make(shelf)
    for number in range(3):
        log.write("stdout", b"%d\n" % number)
        log.flush()
    assert shelf.lines == ["stdout 0"]

    shelf.slow = False
    shelf.chunks[0].finish()
    log.close()

    assert shelf.lines == ["stdout 0", "stdout 1", "stdout 2"]
    assert len(shelf.chunks) == 2


def test_full_log_says_so_once() -> None:
    shelf = Shelf()
    log = make(shelf)

    for _ in range(MAX_LOG_CHARS // 1000 + 100):
        log.write("stdout", b"x" * 1000 + b"\n")
    log.close()

    assert sum("truncated" in line for line in shelf.lines) == 1
    assert "truncated" in shelf.lines[-1]


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        pytest.param("hunter2", "password=hunter2.", "password=***.", id="plain"),
        pytest.param('{"user": "flights", "password": "hunter2"}', "flights:hunter2", "***:***", id="in JSON"),
        pytest.param("-----BEGIN\nline one\n-----END", "see line one", "see ***", id="a line of many"),
        pytest.param("abc", "abc", "abc", id="too short to hide"),
        pytest.param("hunter2\n", "hunter2", "***", id="with a newline"),
    ],
)
def test_secrets_are_masked(secret: str, text: str, shown: str) -> None:
    redaction = Redaction()
    redaction.add(secret)
    shelf = Shelf()
    log = make(shelf, redaction)

    log.write("stdout", text.encode())
    log.close()

    assert shelf.lines == [f"stdout {shown}"]


def test_secret_told_after_its_line_was_read_is_masked() -> None:
    redaction = Redaction()
    shelf = Shelf()
    log = make(shelf, redaction)

    log.write("stdout", b"it is hunter2\n")
    redaction.add("hunter2")
    log.flush()

    assert shelf.lines == ["stdout it is ***"]


def test_longer_secret_wins() -> None:
    redaction = Redaction()
    redaction.add("hunter")
    redaction.add("hunter22")

    assert redaction.clean("hunter22 hunter") == "*** ***"
