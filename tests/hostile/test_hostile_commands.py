"""The command line: hostile files, folders, arguments, servers and environments end with a clear line, never a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.hostile.hostile_world import DEADLINE_SECONDS, ROLE_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.hostile.hostile_world import Doors

ESCAPE = "\x1b[2J\x1b]0;owned\x07"
DAG = "kind: Dag\nmetadata: {name: h}\nspec:\n  tasks:\n  - {name: a, runtime: python, with: {entrypoint: 'm:f'}}\n"
ROOT = os.getuid() == 0


def setpoint(
    doors: Doors, *words: str | bytes, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command; return its exit code and all that it printed, which tells no secret and is no traceback."""
    known = {"SETPOINT_URL": doors.url, "SETPOINT_TOKEN": ROLE_TOKENS["admin"], "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "controller.cli.main", *words],
        input=stdin,
        capture_output=True,
        env={**os.environ, **known, **(environment or {})},
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    printed = (done.stdout + done.stderr).decode(errors="replace")
    assert "Traceback" not in printed, printed
    assert "\x1b" not in printed, repr(printed)
    assert not [secret for secret in doors.told if secret in printed]
    return done.returncode, printed


def _write(name: str, content: bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return make


def _in(make: Callable[[Path], object], name: str) -> Callable[[Path], None]:
    """Make something in a folder beside a good DAG that names no such thing."""

    def both(folder: Path) -> None:
        (folder / "dag.yaml").write_text(DAG)
        (folder / "m.py").write_text("def f(): ...\n")
        make(folder / name)

    return both


def _unreadable(path: Path) -> None:
    path.write_text("x")
    path.chmod(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(_write("a.yaml", b"\xff\xfe\x00"), "a.yaml:1: is not UTF-8: byte 0xff", id="no UTF-8"),
        pytest.param(_write("a.yaml", b"a: \0"), "a.yaml:1: the character U+0000", id="NUL"),
        pytest.param(_write("a.yaml", b"x: " + b"y" * 10 * 2**20), "a.yaml:1: has more than 1 MiB", id="10 MiB"),
        pytest.param(_write("a.yaml", b"- " * 5_000), "nested more than", id="5,000 lists"),
        pytest.param(_write("a.yaml", b"a: &a [*a]"), "no anchor", id="a loop of aliases"),
        pytest.param(_write("a.yaml", b"\x1b[2J: 1"), "U+001B", id="an escape"),
        pytest.param(_write("a.yaml", b'kind: "\\e[2J"'), "\\x1b[2J", id="an escape in a value"),
        pytest.param(_write("a\nb: c.yaml", b"x"), "a\\nb: c.yaml:1: ", id="a newline in a file's name"),
        pytest.param(_write(f"a{ESCAPE}.yaml", b"x"), "\\x1b[2J", id="an escape in a file's name"),
        pytest.param(_write("a'; reboot #.yaml", b"x"), "a'; reboot #.yaml:1: ", id="shell in a file's name"),
        pytest.param(lambda folder: os.mkfifo(folder / "a.yaml"), "is no regular file", id="a pipe"),
        pytest.param(
            lambda folder: (folder / "a.yaml").mkdir(), "there is no resource", id="a folder with a file's name"
        ),
        pytest.param(lambda folder: (folder / "a.yaml").symlink_to("/dev/zero"), "leads out", id="a link to a device"),
        pytest.param(lambda folder: (folder / "a.yaml").symlink_to("a.yaml"), "leads out", id="a link to itself"),
        pytest.param(lambda folder: (folder / "sub").symlink_to(folder), "not followed", id="a loop of folders"),
        pytest.param(_in(os.mkfifo, "pipe"), "pipe is no regular file", id="a pipe beside the code"),
        pytest.param(
            _in(lambda p: p.symlink_to("/etc/passwd"), "x"), "x is a symbolic link", id="a link beside the code"
        ),
        pytest.param(_in(lambda p: p.symlink_to("."), "x"), "not followed", id="a loop beside the code"),
        pytest.param(_in(lambda p: p.write_bytes(bytes(11 * 2**20)), "x"), "more than 10 MiB", id="11 MiB of code"),
        pytest.param(_in(lambda p: p.write_text(""), "a\\b"), "no portable name", id="a backslash beside the code"),
        pytest.param(
            _in(_unreadable, "x"),
            "cannot be read",
            id="an unreadable file",
            marks=pytest.mark.skipif(ROOT, reason="root reads everything"),
        ),
    ],
)
def test_folders(unchanged: Doors, tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path)
    code, printed = setpoint(unchanged, "apply", "-f", str(tmp_path))
    assert code, printed
    assert message in printed


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take no such name")
@pytest.mark.parametrize("name", [b"a\xff.yaml", b"\xff"])
def test_names_that_are_no_text(unchanged: Doors, tmp_path: Path, name: bytes) -> None:
    (tmp_path / "dag.yaml").write_text(DAG)
    (tmp_path / "m.py").write_text("def f(): ...\n")
    with open(os.path.join(os.fsencode(tmp_path), name), "wb"):  # noqa: PTH118, PTH123 - a Path holds text only
        pass
    code, printed = setpoint(unchanged, "apply", "-f", str(tmp_path))
    assert code
    assert "no UTF-8 name; rename the file" in printed
    code, printed = setpoint(unchanged, "apply", "-f", os.path.join(os.fsencode(tmp_path), name))  # noqa: PTH118
    assert code


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        pytest.param(b"\xff\xfe", "<stdin>:1: is not UTF-8", id="no UTF-8"),
        pytest.param(b"a: \0", "<stdin>:1: the character U+0000", id="NUL"),
        pytest.param(b"x" * 12 * 2**20, "<stdin>:1: has more than 1 MiB", id="12 MiB"),
        pytest.param(b"", "there is no resource", id="nothing"),
    ],
)
def test_standard_input(unchanged: Doors, stdin: bytes, message: str) -> None:
    code, printed = setpoint(unchanged, "apply", "-f", "-", stdin=stdin)
    assert code
    assert message in printed


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["get", "dag", b"\xff\xfe"], id="a name that is no text"),
        pytest.param(["get", "dag", "'; DROP TABLE run; -- $(reboot)"], id="SQL and shell"),
        pytest.param(["get", "dag", "../../../v1/bundles"], id="a path"),
        pytest.param(["get", "dag", "a\r\nX: y"], id="a header"),
        pytest.param(["get", "dag", ESCAPE], id="an escape"),
        pytest.param(["get", "dag", "x" * 100_000], id="100 kB"),
        pytest.param(["-n", b"\xff", "get", "dags", "x"], id="a namespace that is no text"),
        pytest.param(["get", "dags", "-l", b"\xff"], id="a selector that is no text"),
        pytest.param(["events", "--for", b"run/\xff"], id="events of what is no text"),
        pytest.param(["trigger", "diamond", "-p", b"a=\xff"], id="a parameter that is no text"),
        pytest.param(["trigger", "none", "-p", "a=" + "[" * 60_000], id="a parameter of brackets"),
        pytest.param(["trigger", "diamond", "-p", "a=1e999"], id="a parameter of 1e999"),
        pytest.param(["trigger", "none", "-p", "a=NaN"], id="a parameter called NaN"),
        pytest.param(["trigger", "diamond", "--label", "a\x1b=b"], id="a label with an escape"),
        pytest.param(["trigger", "diamond", "--key", "k" * 1_000], id="a long key"),
        pytest.param(["logs", "run/none", "--attempt", "9" * 30], id="an attempt of 30 digits"),
        pytest.param(["apply", "-f", "/dev/zero"], id="a device"),
        pytest.param(["apply", "-f", "/proc/self/mem"], id="a file that cannot be read"),
        pytest.param(["apply", "-f", "x" * 5_000], id="a path that no file system takes"),
    ],
)
def test_arguments(unchanged: Doors, words: list[str | bytes]) -> None:
    code, printed = setpoint(unchanged, *words)
    assert code
    assert printed.strip()
    assert len(printed) < 10_000


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        pytest.param({"SETPOINT_TOKEN": "token-with\nX-Header: 1"}, "SETPOINT_TOKEN", id="a newline in the token"),
        pytest.param({"SETPOINT_TOKEN": "token-with-é"}, "SETPOINT_TOKEN", id="a letter in the token"),
        pytest.param({"SETPOINT_TOKEN": "token-with-no-meaning"}, "token is unknown", id="another token"),
        pytest.param({"SETPOINT_URL": "http://user:token-with-url@127.0.0.1:1"}, "127.0.0.1:1", id="a password"),
        pytest.param({"SETPOINT_URL": "file:///etc/passwd"}, "no http address", id="a file"),
        pytest.param({"SETPOINT_URL": "http://127.0.0.1:99999"}, "no dispatcher answers", id="no port"),
        pytest.param({"SETPOINT_URL": "http://["}, "", id="no address"),
    ],
)
def test_environments(unchanged: Doors, environment: dict[str, str], message: str) -> None:
    code, printed = setpoint(unchanged, "get", "dags", environment=environment)
    assert code
    assert message in printed
    assert "token-with" not in printed


@contextmanager
def _answering(answer: bytes) -> Iterator[str]:
    """Serve one answer to whoever asks."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(DEADLINE_SECONDS)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x16\x03\x01\x02", id="TLS"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", id="a page"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", id="a list"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", id="null"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", id="half an answer"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"[" * 9_000, id="brackets"),
        pytest.param(
            b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", id="elsewhere"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nDate: never\r\nContent-Length: 2\r\n\r\n{}", id="no date"),
        pytest.param(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\n\x1b[2J", id="an escape"),
        pytest.param(
            b"HTTP/1.1 400 No\r\nContent-Length: 32\r\n\r\n" + b'{"message": 5, "details": [1, 2]}'[:32], id="torn"
        ),
        pytest.param(b'HTTP/1.1 400 No\r\nContent-Length: 33\r\n\r\n{"message": 5, "details": [1, 2]}', id="odd"),
        pytest.param(
            b'HTTP/1.1 422 No\r\nContent-Length: 30\r\n\r\n{"details": {"problems": [{}]}}'[:-1], id="a bare problem"
        ),
    ],
)
def test_servers_that_are_no_dispatcher(unchanged: Doors, answer: bytes) -> None:
    with _answering(answer) as url:
        code, printed = setpoint(unchanged, "get", "dag", "x", environment={"SETPOINT_URL": url})
    assert code
    assert printed.startswith("error: ")
