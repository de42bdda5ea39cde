"""A whole local system, started as its user starts it, and what a benchmark sees of it from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any, LiteralString, Self

import psutil
import psycopg

import controller
from controller.local.lifeline import die_with_parent
from controller.local.postgres import Server
from tests.benchmarks import statements
from tests.benchmarks.dags import write_pool
from tests.benchmarks.keepalive import HttpError, KeepAlive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tests.benchmarks.dags import Dag

ROOT = Path(next(iter(controller.__path__))).parent
"""Where the code that is measured lies, whichever tree that is."""
READY_WITHIN = 180.0
STOP_WITHIN = 60.0
LOOK_EVERY = 0.02
TAIL = 2_000
"""How much of what the system has said stands in an error."""
PARALLEL_TRIGGERS = 8

_UNFINISHED: LiteralString = "SELECT count(*) FROM run WHERE uid = ANY(%s) AND ended_at IS NULL"
_FAILED: LiteralString = "SELECT name, phase, message FROM run WHERE uid = ANY(%s) AND phase <> 'Succeeded' LIMIT 3"
_WORKERS: LiteralString = "SELECT count(*) FROM worker WHERE ended_at IS NULL AND slots > 0"
_DAGS: LiteralString = "SELECT count(*) FROM resource WHERE kind = 'Dag' AND name = ANY(%s)"

Object = dict[str, Any]


class BenchmarkError(RuntimeError):
    """A measurement could not be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Size:
    """The pool in which the tasks run, how much of each workload is done, and how long the history is."""

    slots: int = 16
    workers: int = 1
    scale: float = 1.0
    rows: int = 1_000_000

    def of(self, whole: int, least: int = 2) -> int:
        """Return a part of a number, as small as `scale` says."""
        return max(round(whole * self.scale), least)


class Stack:
    """`setpoint up` over a folder of its own, on free ports; several may run on one machine."""

    def __init__(self, dags: Sequence[Dag], size: Size, *, statistics: bool = False) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="setpoint-bench-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self.data = self.folder / "data"
        self.size = size
        self._dags = [dag.name for dag in dags]
        write_pool(self.folder / "dags", size.slots, size.workers)
        for dag in dags:
            dag.write(self.folder / "dags")
        self._statistics = statistics
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: psycopg.Connection | None = None
        self._connections = local()
        self._context: Object = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the system and remove its folder."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            had = self.processes()
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_WITHIN)
            self._process.kill()
            self._process.wait()
            for process in psutil.wait_procs(had, timeout=STOP_WITHIN)[1]:
                with suppress(psutil.Error):
                    process.kill()
            self._process = None
        self._temporary.cleanup()

    def _start(self) -> None:
        if self._statistics:
            statements.preload(self.data / "postgres")
        self._launch()
        self.until("the system is up", lambda: "Setpoint is up" in self._output.read_text())
        self._context = json.loads((self.data / "config.json").read_text())["contexts"]["local"]
        self._connection = self.connect()
        if self._statistics:
            statements.install(self)
        self.until("the DAGs are applied", lambda: self.value(_DAGS, self._dags) == len(self._dags))
        self.until("the workers have come", lambda: self.value(_WORKERS) == self.size.workers)

    def _launch(self) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SETPOINT_")}
        path = os.pathsep.join(part for part in (str(ROOT), inherited.get("PYTHONPATH", "")) if part)
        command = ["up", f"--data-dir={self.data}", f"--dags={self.folder / 'dags'}", "--port=0", "--examples-port=0"]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "controller.cli.main", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**inherited, "PYTHONPATH": path},
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509 - system calls only
            )

    @property
    def _output(self) -> Path:
        return self.folder / "output"

    def until(self, what: str, holds: Callable[[], object], seconds: float = READY_WITHIN) -> None:
        """Wait until something holds; raise BenchmarkError if it does not come to pass."""
        deadline = time.monotonic() + seconds
        while not holds():
            if self._process is not None and self._process.poll() is not None:
                raise BenchmarkError(f"the system ended before {what}:\n{self._output.read_text()}")
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{what}: not within {seconds:g} s:\n{self._output.read_text()[-TAIL:]}")
            time.sleep(LOOK_EVERY)

    # Processes

    def processes(self) -> list[psutil.Process]:
        """Return every process of the system."""
        with suppress(psutil.Error):
            if self._process is not None:
                root = psutil.Process(self._process.pid)
                return [root, *root.children(recursive=True)]
        return []

    def cpu_seconds(self) -> float:
        """Return the CPU time that the processes of the system have used."""
        return cpu_seconds(self.processes())

    def cpu_by_program(self) -> dict[str, float]:
        """Return the CPU time that the processes of the system have used, by what they run."""
        found: dict[str, float] = {}
        for process in self.processes():
            name, own, whole = program(process), cpu_seconds([process], reaped=False), cpu_seconds([process])
            # A child that has ended counts where it counted before.
            under = "children" if name == "worker" else name
            found[name] = found.get(name, 0.0) + own
            found[under] = found.get(under, 0.0) + whole - own
        return found

    def environment(self, module: str) -> dict[str, str]:
        """Return the environment of the process that runs a module."""
        found = next((p for p in self.processes() if _runs(p, module)), None)
        if found is None:
            raise BenchmarkError(f"no process of the system runs {module}")
        return dict(found.environ())

    @property
    def url(self) -> str:
        """Return where the API is."""
        return str(self._context["url"])

    @property
    def token(self) -> str:
        """Return the administrator's token."""
        return str(self._context["token"])

    def new_folder(self) -> Path:
        """Return a new, empty folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    # The database, read by its superuser on a connection of its own

    def connect(self) -> psycopg.Connection:
        """Return a new connection."""
        port = int((self.data / "postgres/pgdata/postmaster.pid").read_text().splitlines()[3])
        dsn = Server(self.data / "postgres", port).dsn(dbname="setpoint")
        return psycopg.connect(dsn, autocommit=True, options="-c search_path=setpoint,public", connect_timeout=5)

    def rows(self, query: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        """Return rows."""
        if self._connection is None:
            raise BenchmarkError("the system is not started")
        return self._connection.execute(query, parameters).fetchall()

    def value(self, query: LiteralString, *parameters: object) -> Any:
        """Return the one value of a query."""
        return self.rows(query, *parameters)[0][0]

    # Runs

    def trigger(self, dag: str, params: Mapping[str, object] | None = None) -> str:
        """Start a run; return its uid."""
        path = f"/apis/setpoint.dev/v1/namespaces/default/dags/{dag}/trigger"
        api: KeepAlive | None = getattr(self._connections, "api", None)
        if api is None:
            headers = {"Authorization": f"Bearer {self._context['token']}"}
            api = self._connections.api = KeepAlive(self.url, headers)
        try:
            return str(api.post(path, {"params": dict(params or {})})["metadata"]["uid"])
        except HttpError as error:
            raise BenchmarkError(str(error)) from error

    def trigger_many(self, dag: str, count: int) -> list[str]:
        """Start runs, several requests at a time; return their uids."""
        with ThreadPoolExecutor(PARALLEL_TRIGGERS) as threads:
            return list(threads.map(lambda _: self.trigger(dag), range(count)))

    def ended(self, runs: Iterable[str], seconds: float = 600.0) -> None:
        """Wait until runs have ended; raise BenchmarkError unless all of them succeeded."""
        uids = list(runs)
        self.until(f"{len(uids)} runs end", lambda: self.value(_UNFINISHED, uids) == 0, seconds)
        if failed := self.rows(_FAILED, uids):
            raise BenchmarkError(f"runs that did not succeed, such as {failed[0]}")


def cpu_seconds(processes: Iterable[psutil.Process], *, reaped: bool = True) -> float:
    """Return the CPU time that processes have used, and those that they started and saw end."""
    total = 0.0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
            total += times.children_user + times.children_system if reaped else 0.0
    return total


_PROGRAMS = {
    "controller.main": "dispatcher",
    "controller.local.sqs": "sqs",
    "workers": "worker",
    "workers.child": "children",
    "postgres": "postgres",
}


def program(process: psutil.Process) -> str:
    """Return what a process is to the system; several processes share a name."""
    with suppress(psutil.Error):
        words = [*process.cmdline(), process.name()]
        return next((name for word, name in _PROGRAMS.items() if word in words), "others")
    return "others"


def _runs(process: psutil.Process, module: str) -> bool:
    with suppress(psutil.Error):
        return module in process.cmdline()
    return False
