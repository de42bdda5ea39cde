"""A Postgres server as its user holds it."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from psycopg.conninfo import make_conninfo

from controller.local import lifeline
from controller.local.postgres.cluster import HOST, PASSWORD_FILE, SUPERUSER

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_SECONDS = 300.0
_STOP_SECONDS = 45.0


class ServerError(RuntimeError):
    """The server did not start; the message holds its own words."""


@dataclass(slots=True)
class Server:
    """A Postgres server over a data folder; it never outlives this process."""

    data_dir: Path
    port: int = 0
    durable: bool = True
    bin_dir: Path | None = None
    _wrapper: subprocess.Popen[str] | None = None
    _lifeline: int | None = None

    def start(self) -> Self:
        """Start the server and return when it takes connections; `port` 0 becomes the port it got."""
        read, self._lifeline = lifeline.pipe()
        command = [sys.executable, "-m", "controller.local.postgres", "run", f"--data-dir={self.data_dir}"]
        command += [f"--port={self.port}", f"--lifeline={read}"]
        command += [] if self.durable else ["--not-durable"]
        command += [f"--bin-dir={self.bin_dir}"] if self.bin_dir else []
        self._wrapper = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=(read,),
            # Ctrl-C is for the user of the server, who stops it in turn.
            start_new_session=True,
        )
        os.close(read)
        self.port = self._await_port(self._wrapper)
        return self

    @property
    def pid(self) -> int:
        """Return the id of the process that runs the server; SIGKILL to it takes all of Postgres along."""
        if self._wrapper is None:
            raise ServerError("the server is not started")
        return self._wrapper.pid

    def poll(self) -> int | None:
        """Return the exit status of a server that ended by itself, or None while it runs."""
        return None if self._wrapper is None else self._wrapper.poll()

    def dsn(self, user: str = SUPERUSER, dbname: str = "postgres", password: str | None = None) -> str:
        """Return a libpq connection string; the superuser's password is known, others' must be given."""
        if password is None and user == SUPERUSER:
            password = (self.data_dir / PASSWORD_FILE).read_text()
        return make_conninfo(host=HOST, port=self.port, user=user, dbname=dbname, password=password)

    def stop(self) -> None:
        """Stop the server in order; harmless when it has ended."""
        wrapper, self._wrapper = self._wrapper, None
        if wrapper is None:
            return
        wrapper.terminate()
        try:
            wrapper.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            wrapper.kill()
            wrapper.wait()
        for stream in (wrapper.stdout, wrapper.stderr):
            if stream is not None:
                stream.close()
        self._cut_lifeline()

    def _await_port(self, wrapper: subprocess.Popen[str]) -> int:
        line = ""
        if wrapper.stdout is not None:
            with selectors.DefaultSelector() as selector:
                selector.register(wrapper.stdout, selectors.EVENT_READ)
                line = wrapper.stdout.readline() if selector.select(_START_SECONDS) else ""
        if line:
            return int(line.rsplit(":", 1)[1])
        wrapper.terminate()
        _, errors = wrapper.communicate()
        self._wrapper = None
        self._cut_lifeline()
        raise ServerError(errors.strip() or f"Postgres did not start within {_START_SECONDS:.0f} s")

    def _cut_lifeline(self) -> None:
        if self._lifeline is not None:
            with suppress(OSError):
                os.close(self._lifeline)
            self._lifeline = None


@contextmanager
def temporary_server(*, durable: bool = False, bin_dir: Path | None = None) -> Iterator[Server]:
    """Run a server over an empty folder that is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="setpoint-postgres-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder) / "server", durable=durable, bin_dir=bin_dir).start()
        try:
            yield server
        finally:
            server.stop()
