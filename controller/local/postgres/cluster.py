"""A data folder and the server process over it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from controller.local.lifeline import Guard, die_with_parent
from controller.local.postgres.identity import Identity, accepted_identity
from controller.local.postgres.leftovers import stop_leftovers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from controller.local.postgres.binaries import Binaries

SUPERUSER = "postgres"
HOST = "127.0.0.1"
PASSWORD_FILE = "password"  # noqa: S105 - the name of a file

_INITDB_SECONDS = 120.0
_STOP_STEPS = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 6.0), (signal.SIGKILL, 10.0))
_MAX_CONNECTIONS = 200
_LOG_TAIL_BYTES = 2000

# The limit of a socket's path, closing zero excluded; Linux allows four more than macOS.
_SOCKET_PATH_BYTES = 103

_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class ClusterError(RuntimeError):
    """Postgres could not be set up or started; the message holds its own words."""


@dataclass(slots=True)
class Cluster:
    """A Postgres data folder and, while started, its postmaster."""

    data_dir: Path
    binaries: Binaries
    durable: bool = True
    identity: Identity = field(default_factory=accepted_identity)
    _process: subprocess.Popen[bytes] | None = None
    _guard: Guard | None = None

    @property
    def database_dir(self) -> Path:
        """Return the folder that Postgres calls PGDATA."""
        return self.data_dir / "pgdata"

    @property
    def log(self) -> Path:
        """Return the file that takes what the server prints."""
        return self.data_dir / "postgres.log"

    def log_tail(self) -> str:
        """Return the last words of the server."""
        return self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")

    def prepare(self) -> None:
        """Leave a complete data folder that no server uses; safe to repeat after a crash at any point."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.identity.own(self.data_dir)
        if self.database_dir.exists():
            stop_leftovers(self.database_dir)
            self._check_version()
        else:
            self._create()

    def start(self, port: int) -> subprocess.Popen[bytes]:
        """Start the postmaster on `port`; call from the main thread, whose death takes it along."""
        settings = [
            f"listen_addresses={HOST}",
            f"unix_socket_directories={self._socket_dir(port)}",
            f"max_connections={_MAX_CONNECTIONS}",
            *(() if self.durable else _NOT_DURABLE),
        ]
        options = [word for setting in settings for word in ("-c", setting)]
        command = [str(self.binaries.postgres), "-D", str(self.database_dir), "-p", str(port), *options]
        # If we are killed, the server stops by itself, at once but in order.
        self._process = self._spawn(command, signal.SIGQUIT)
        self._guard = Guard(signal.SIGQUIT)
        self._guard.hold(self._process.pid)
        return self._process

    def stop(self) -> None:
        """Stop the postmaster: fast, and immediately after a deadline."""
        if self._process is None:
            return
        for signum, seconds in _STOP_STEPS:
            self._process.send_signal(signum)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
                break
        self.close()

    def close(self) -> None:
        """Let go of a postmaster that has ended."""
        if self._process is not None and self._guard is not None:
            self._guard.release(self._process.pid)
            self._guard.close()
        self._process = self._guard = None

    def _socket_dir(self, port: int) -> str:
        # A path relative to PGDATA, where the server works, never exceeds the limit.
        folder = str(self.data_dir)
        return folder if len(f"{folder}/.s.PGSQL.{port}".encode()) <= _SOCKET_PATH_BYTES else "."

    def _check_version(self) -> None:
        major = int((self.database_dir / "PG_VERSION").read_text())
        if major != self.binaries.major:
            raise ClusterError(
                f"{self.database_dir} was made by PostgreSQL {major}, but {self.binaries.folder} holds "
                f"{self.binaries.major}: name the bin folder of version {major}, or use an empty data folder"
            )

    def _create(self) -> None:
        # Made beside its place and renamed when complete, so that a kill leaves no half folder.
        fresh = self.data_dir / "pgdata.new"
        shutil.rmtree(fresh, ignore_errors=True)
        command = [
            str(self.binaries.initdb),
            f"--pgdata={fresh}",
            f"--username={SUPERUSER}",
            f"--pwfile={self._create_password()}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            f"--locale={'C.UTF-8' if sys.platform == 'linux' else 'C'}",
            *(() if self.durable else ("--no-sync",)),
        ]
        initdb = self._spawn(command, signal.SIGKILL)
        try:
            status = initdb.wait(_INITDB_SECONDS)
        except subprocess.TimeoutExpired:
            initdb.kill()
            status = initdb.wait()
        if status != 0:
            raise ClusterError(f"initdb failed with status {status}:\n{self.log_tail()}")
        fresh.rename(self.database_dir)

    def _create_password(self) -> Path:
        path = self.data_dir / PASSWORD_FILE
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24))
        self.identity.own(path)
        return path

    def _spawn(self, command: Sequence[str], at_our_death: int) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self.identity.prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data_dir,
                user=self.identity.user,
                group=self.identity.user,
                start_new_session=True,
                preexec_fn=partial(_prepare, os.getpid(), at_our_death),  # noqa: PLW1509 - system calls only
            )


def _prepare(parent: int, at_our_death: int) -> None:
    die_with_parent(parent, at_our_death)
    # The wrapper waits for signals with `sigwait`; its mask must not pass on.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
