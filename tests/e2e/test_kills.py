"""Kill a part while a DAG runs: the run still succeeds, every row is there once, and events say what happened."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest
from e2e_processes import family, still_alive
from e2e_system import eventually

from controller.cli.client import NotFoundError

if TYPE_CHECKING:
    from e2e_system import Up

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]


@pytest.mark.pain("T6")
def test_a_worker(system: Up) -> None:
    gate = system.gate("worker")
    run = system.trigger("chain", gate=gate.folder)
    worker = gate.begun("second").parent()
    assert worker is not None
    had = family(worker.pid)
    worker.kill()
    assert still_alive(had, 30) == []
    gate.begun("second", 2)
    assert system.ended(run) == "Succeeded"
    assert system.effects(run) == [("first", 1), ("second", 2), ("third", 1)]
    assert system.attempts(run, "second") == [("Lost", "WorkerStopped"), ("Succeeded", "Succeeded")]
    assert "WorkerStopped" in {reason for reason, _ in system.events(run)}


def test_the_process_of_a_task(system: Up) -> None:
    gate = system.gate("child")
    run = system.trigger("chain", gate=gate.folder)
    gate.begun("second").kill()
    assert system.ended(run) == "Succeeded"
    assert system.effects(run) == [("first", 1), ("second", 2), ("third", 1)]
    assert system.attempts(run, "second") == [("Lost", "ChildDied"), ("Succeeded", "Succeeded")]
    assert "ChildDied" in {reason for reason, _ in system.events(run)}


def test_a_worker_that_writes_parquet(system: Up) -> None:
    gate = system.gate("parquet")
    run = system.trigger("cold", gate=gate.folder)
    worker = gate.begun("measure").parent()
    assert worker is not None
    worker.kill()
    assert system.ended(run) == "Succeeded"
    found = system.rows("SELECT attempt, readings, total FROM hot.tallies WHERE run = %s", run)
    assert found == [{"attempt": 2, "readings": 1_000, "total": 499_500}]


def test_the_dispatcher(system: Up) -> None:
    """A task that runs goes on, and ends while the dispatcher is away."""
    gate = system.gate("dispatcher")
    run = system.trigger("chain", gate=gate.folder)
    gate.begun("second")
    dispatcher = system.program("dispatcher")
    dispatcher.kill()
    gate.open()
    system.replaced("dispatcher", dispatcher)
    assert system.ended(run) == "Succeeded"
    assert system.effects(run) == [("first", 1), ("second", 1), ("third", 1)]


@pytest.mark.pain("T5")
def test_the_dispatcher_again_and_again(system: Up) -> None:
    gate = system.gate("again")
    runs = [system.trigger("chain", gate=gate.folder) for _ in range(6)]
    gate.open()
    for _ in range(3):
        dispatcher = system.program("dispatcher")
        dispatcher.kill()
        system.replaced("dispatcher", dispatcher)
    for run in runs:
        assert system.ended(run, 120) == "Succeeded"
        assert [task for task, _ in system.effects(run)] == ["first", "second", "third"]


def test_ecs_and_with_it_all_workers(system: Up) -> None:
    gate = system.gate("ecs")
    run = system.trigger("chain", gate=gate.folder)
    gate.begun("second")
    ecs = system.program("ecs")
    had = family(ecs.pid)
    ecs.kill()
    assert still_alive(had, 30) == []
    gate.begun("second", 2)
    assert system.ended(run) == "Succeeded"
    assert system.effects(run) == [("first", 1), ("second", 2), ("third", 1)]
    assert system.attempts(run, "second")[0][0] == "Lost"
    assert {"WorkerStopped", "LeaseExpired"} & {reason for reason, _ in system.events(run)}


@pytest.mark.pain("T24")
def test_postgres(system: Up) -> None:
    """No worker is given up, because no heartbeat could arrive; only rows on their way are lost, and written again."""
    open_rows, no_rows = system.gate("postgres-rows"), system.gate("postgres")
    writing = system.trigger("gated", gate=open_rows.folder)
    waiting = system.trigger("patient", gate=no_rows.folder)
    open_rows.begun("work")
    no_rows.begun("work")
    postgres = system.program("postgres")
    postgres.kill()
    system.replaced("postgres", postgres)
    eventually("the API reads the database", lambda: system.run(writing))
    open_rows.open()
    no_rows.open()
    assert system.ended(waiting) == "Succeeded"
    assert system.effects(waiting) == [("work", 1)]
    assert system.ended(writing) == "Succeeded"
    assert system.effects(writing) == [("work", 2)]
    assert system.attempts(writing, "work")[0] == ("Lost", "InfrastructureError")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_sqs_with_messages_in_its_queues(system: Up) -> None:
    """What the queue held is gone; it was seen empty for a minute, so the messages are sent again."""
    workers = system.workers("python")
    for worker in workers:
        worker.suspend()
    gate = system.gate("sqs")
    gate.open()
    # The poll that the suspended worker left open takes the first message; those that follow stay in the queue.
    runs = [system.trigger("gated", gate=gate.folder)]
    try:
        eventually("the first message is sent", lambda: _queued(system, runs))
        runs += [system.trigger("gated", gate=gate.folder) for _ in range(2)]
        eventually("the messages are queued", lambda: _queued(system, runs))
        sqs = system.program("sqs")
        sqs.kill()
        system.replaced("sqs", sqs)
    finally:
        for worker in workers:
            worker.resume()
    for run in runs:
        assert system.ended(run, 240) == "Succeeded"
        assert [task for task, _ in system.effects(run)] == ["work"]
    told = {reason for run in runs for reason, _ in system.events(run)}
    assert "DeliveryLost" in told


@pytest.mark.pain("T7")
def test_a_worker_that_wakes_up_too_late(system: Up) -> None:
    """It slept past its lease: its task ran elsewhere, and what it brings is refused."""
    gate = system.gate("zombie")
    run = system.trigger("paired", gate=gate.folder)
    child = gate.begun("work")
    worker = child.parent()
    assert worker is not None
    worker.send_signal(signal.SIGSTOP)
    try:
        eventually("its attempt is given up", lambda: system.attempts(run, "work")[0] == ("Lost", "LeaseExpired"))
        # The task itself was not suspended: it ends only now, and tries to commit.
        gate.open()
        gate.passed("work")
        # The queue may hand the message to the sleeper first, whose poll is still open; then it comes again.
        assert system.ended(run, 120) == "Succeeded"
        # A frozen worker holds the place of a live one, so ECS is told to stop it.
        eventually("the sleeper is stopped", lambda: not worker.is_running())
    finally:
        with suppress(psutil.NoSuchProcess):
            worker.send_signal(signal.SIGCONT)
    assert system.effects(run) == [("work", 2)]
    assert system.attempts(run, "work") == [("Lost", "LeaseExpired"), ("Succeeded", "Succeeded")]
    assert "LeaseExpired" in {reason for reason, _ in system.events(run)}
    # Its replacement is a worker like any other.
    later = system.gate("zombie-later")
    later.open()
    again = [system.trigger("paired", gate=later.folder) for _ in range(8)]
    assert {system.ended(name) for name in again} == {"Succeeded"}
    assert system.effects(run) == [("work", 2)]


def _queued(system: Up, runs: list[str]) -> bool:
    try:
        attempts = [system.attempts(run, "work") for run in runs]
    except NotFoundError:
        # A run that is not admitted yet has no tasks.
        return False
    return all(tries and tries[-1][0] == "Queued" for tries in attempts)
