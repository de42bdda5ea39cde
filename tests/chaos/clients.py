"""Clients that trigger runs with idempotency keys, and ask again until they are answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from controller.cli.client import Client, RefusedError
from controller.cli.errors import CliError, UnreachableError
from tests.chaos.workload import TRIGGERED

if TYPE_CHECKING:
    from controller.cli.target import Target

CLIENTS = 4
PAUSE = 0.5
"""Seconds between two tries of the same trigger."""
ASKED_TWICE = 0.2
"""The share of triggers that are sent again although they were accepted, as by a client that missed the answer."""


@dataclass(slots=True)
class Clients:
    """Threads that trigger `rate` runs a second together, as long as the API lets them."""

    target: Target
    rate: float
    seed: int
    accepted: dict[str, str] = field(default_factory=dict)
    """Idempotency key → uid of the run that was answered."""
    troubles: list[str] = field(default_factory=list)
    """Answers that no client should get."""
    asked: int = 0
    retried: int = 0
    _over: Event = field(default_factory=Event)
    _given_up: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)
    _threads: list[Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin to trigger."""
        for number in range(CLIENTS):
            self._threads.append(Thread(target=self._run, args=(number,), name=f"client-{number}", daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """Ask for nothing new; what was asked for is still asked for until it is answered."""
        self._over.set()

    def give_up(self) -> None:
        """Ask no more at all."""
        self._over.set()
        self._given_up.set()
        for thread in self._threads:
            thread.join()

    def busy(self) -> int:
        """Return how many clients still wait for an answer."""
        return sum(thread.is_alive() for thread in self._threads)

    def _run(self, number: int) -> None:
        source = Random(f"{self.seed}/client{number}")
        client = Client(self.target)
        while not self._over.wait(source.uniform(0, 2) * CLIENTS / self.rate):
            with self._lock:
                self.asked += 1
                key = f"chaos-{self.asked:05}"
            dag = source.choice(TRIGGERED)
            self._ask(client, dag, key)
            if source.random() < ASKED_TWICE:
                self._ask(client, dag, key)

    def _ask(self, client: Client, dag: str, key: str) -> None:
        while not self._given_up.is_set():
            try:
                run = client.post("dags", dag, "trigger", body={"idempotencyKey": key})
            except (UnreachableError, RefusedError, CliError) as error:
                self._note(key, error)
                self._given_up.wait(PAUSE)
                continue
            uid = str(run["metadata"]["uid"])
            if self.accepted.setdefault(key, uid) != uid:
                self.troubles.append(f"trigger {key} was answered by run {uid}, before by {self.accepted[key]}")
            return

    def _note(self, key: str, error: CliError) -> None:
        with self._lock:
            self.retried += 1
            if not isinstance(error, UnreachableError):
                status = error.status if isinstance(error, RefusedError) else 0
                self.troubles.append(f"trigger {key} was refused with {status}: {error}")
