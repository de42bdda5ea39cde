"""`setpoint up` as its user starts it, and what a user does beside it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
import psycopg
from e2e_processes import family, marked, program, still_alive, workers
from psycopg.rows import dict_row

from controller.cli.client import Client
from controller.cli.errors import UnreachableError
from controller.cli.target import Target
from controller.local.postgres import Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import LiteralString

T = TypeVar("T")

PATIENCE = 60.0
"""How long something may take that takes a second or two; only a broken system waits so long."""
STOP_WITHIN = 60.0
DAGS = Path(__file__).with_name("dags")
COMMAND = Path(sys.executable).with_name("setpoint")
ENDED = frozenset({"Succeeded", "Failed", "Cancelled"})

Object = dict[str, Any]

_EFFECTS: LiteralString = "SELECT task, attempt FROM hot.effects WHERE run = %s ORDER BY task, attempt"


def eventually(what: str, look: Callable[[], T | None], seconds: float = PATIENCE) -> T:
    """Return the first true value; fail after a generous while. A dispatcher or database that is away is waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if value := look():
                return value
        except (UnreachableError, psycopg.OperationalError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds:g} s")


@dataclass(frozen=True, slots=True)
class Gate:
    """A folder where the tasks of a run tell that they have begun, and wait until it is opened."""

    folder: Path

    def open(self) -> None:
        """Let those go on that wait."""
        (self.folder / "open").touch()

    def begun(self, task: str, number: int = 1) -> psutil.Process:
        """Wait until an attempt of a task is at the gate; return the process that runs it."""
        note = self.folder / f"{task}.{number}.started"
        eventually(f"attempt {number} of {task} begins", note.exists)
        return psutil.Process(int(note.read_text()))

    def passed(self, task: str, number: int = 1) -> None:
        """Wait until an attempt of a task is through the gate."""
        eventually(f"attempt {number} of {task} passes", (self.folder / f"{task}.{number}.passed").exists)


class Up:
    """One system: its folders, its processes, its API."""

    def __init__(self, folder: Path, dags: Path = DAGS) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.dags = folder / "dags"
        self.output = folder / "output"
        self._launches = 0
        self.process: subprocess.Popen[bytes] | None = None
        # What is started inherits it, so it tells our processes from others'.
        self._temporary = folder / "tmp"
        self._temporary.mkdir(parents=True)
        shutil.copytree(dags, self.dags, ignore=shutil.ignore_patterns("__pycache__"))

    # Starting and stopping

    def launch(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Run `setpoint up` over our folders; return at once."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SETPOINT_")}
        given = arguments or ("--port=0", "--examples-port=0")
        self._launches += 1
        self.output = self.folder / f"output{self._launches}"
        with self.output.open("wb") as output:
            return subprocess.Popen(
                [str(COMMAND), "up", f"--data-dir={self.data}", f"--dags={self.dags}", *given],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**inherited, "TMPDIR": str(self._temporary)},
                start_new_session=True,
            )

    def start(self) -> Up:
        """Start the system; return when the API answers."""
        self.process = self.launch()
        eventually(f"the API answers; see {self.output}", self._answers)
        return self

    def applied(self, *names: str) -> Up:
        """Wait until DAGs are applied and every pool has its queue and its workers."""
        eventually("the DAGs are applied", lambda: {d["metadata"]["name"] for d in self.objects("dags")} >= set(names))
        eventually(
            "the pools are ready", lambda: all(p["status"]["phase"] == "Ready" for p in self.objects("workerpools"))
        )
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop the system as Ctrl-C does; return its status."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(STOP_WITHIN)

    def kill(self) -> list[psutil.Process]:
        """Kill `up` itself; return what it had started."""
        process, self.process = self.process, None
        assert process is not None
        had = family(process.pid)
        process.kill()
        process.wait(STOP_WITHIN)
        return had

    def leftovers(self, seconds: float = STOP_WITHIN) -> list[str]:
        """Return what still runs of a system that was stopped or killed."""
        return [" ".join(p.cmdline()) for p in still_alive(marked(self.folder), seconds)]

    def clear(self) -> None:
        """End whatever a failed test has left."""
        if self.process is not None:
            self.kill()
        for process in marked(self.folder):
            process.kill()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output.read_text()
        return "Setpoint is up" in self.output.read_text() and bool(self.client.get("workerpools") is not None)

    # Processes

    @property
    def pid(self) -> int:
        """Return the id of `up`."""
        assert self.process is not None
        return self.process.pid

    def program(self, name: str) -> psutil.Process:
        """Return a program of the system, once it runs."""
        return eventually(f"{name} runs", lambda: program(self.pid, name))

    def workers(self, pool: str) -> list[psutil.Process]:
        """Return the worker processes of a pool."""
        return workers(self.pid, pool)

    def replaced(self, name: str, before: psutil.Process) -> psutil.Process:
        """Wait until another process runs as a program; return it."""

        def other() -> psutil.Process | None:
            found = program(self.pid, name)
            return found if found is not None and found != before else None

        return eventually(f"{name} is started again", other)

    # The API

    @property
    def client(self) -> Client:
        """Return a client of the API, found as the commands find it."""
        context = json.loads((self.data / "config.json").read_text())["contexts"]["local"]
        return Client(Target(context["url"], context["token"]))

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which the commands talk to this system."""
        target = self.client.target
        return {**os.environ, "SETPOINT_URL": target.url, "SETPOINT_TOKEN": target.token or ""}

    def objects(self, plural: str, **query: str | int) -> list[Object]:
        """Return all objects of a kind."""
        return list(self.client.items(plural, **query))

    def trigger(self, dag: str, **params: object) -> str:
        """Start a run; return its name."""
        body = {"params": {k: str(v) if isinstance(v, Path) else v for k, v in params.items()}}
        run = eventually("a trigger is accepted", lambda: self.client.post("dags", dag, "trigger", body=body))
        return str(run["metadata"]["name"])

    def gate(self, name: str) -> Gate:
        """Return a new gate."""
        folder = self.folder / "gates" / name
        folder.mkdir(parents=True)
        return Gate(folder)

    def run(self, name: str) -> Object:
        """Return a run."""
        found: Object = self.client.get("dagruns", name)
        return found

    def ended(self, run: str, seconds: float = PATIENCE) -> str:
        """Wait until a run has ended; return its phase."""

        def phase() -> str | None:
            found = str(self.run(run)["status"]["phase"])
            return found if found in ENDED else None

        return eventually(f"run {run} ends", phase, seconds)

    def tasks(self, run: str) -> dict[str, Object]:
        """Return the status of each task of a run."""
        return {t["spec"]["task"]: t["status"] for t in self.objects("taskruns", fieldSelector=f"run={run}")}

    def attempts(self, run: str, task: str) -> list[tuple[str, str | None]]:
        """Return phase and reason of each attempt of a task."""
        found = self.client.get("taskruns", f"{run}.{task}")["status"]
        return [(a["phase"], a.get("reason")) for a in found["attempts"]]

    def events(self, run: str) -> list[tuple[str, str]]:
        """Return (reason, message) of each event of a run and its tasks, oldest first."""
        found = self.client.get("events", limit=1000)["items"]
        return [(e["reason"], e["message"]) for e in found if e["name"].partition(".")[0] == run]

    def revision(self, dag: str) -> int:
        """Return the newest revision of a DAG."""
        return int(self.client.get("dags", dag)["status"]["revision"])

    # Data

    def rows(self, query: LiteralString, *parameters: object) -> list[Object]:
        """Return rows of the database, as its superuser."""
        port = int((self.data / "postgres/pgdata/postmaster.pid").read_text().splitlines()[3])
        server = Server(self.data / "postgres", port)
        with psycopg.connect(server.dsn(dbname="setpoint"), row_factory=dict_row, connect_timeout=5) as connection:
            return connection.execute(query, parameters).fetchall()

    def effects(self, run: str) -> list[tuple[str, int]]:
        """Return (task, attempt) of each row that the tasks of a run have added."""
        return [(row["task"], row["attempt"]) for row in self.rows(_EFFECTS, run)]
