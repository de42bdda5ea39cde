"""Long polls: what wakes a receive that waits.

A poll waits for 20 s at most, so an answer that comes at all was woken by what the test did.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import sleep

import pytest
from contract_queue import ContractQueue, MakeQueue

# Long enough for a poll to have arrived; if it has not, the test is weaker, not wrong.
HEAD_START_SECONDS = 0.3

Poll = Callable[..., Future[list[str]]]


@pytest.fixture
def poll() -> Iterator[Poll]:
    """Start receives in the background."""
    with ThreadPoolExecutor(max_workers=4) as pool:

        def start(queue: ContractQueue, limit: int = 10) -> Future[list[str]]:
            future = pool.submit(queue.bodies, limit)
            sleep(HEAD_START_SECONDS)
            return future

        yield start


def test_poll_is_woken_by_a_send(fifo: ContractQueue, poll: Poll) -> None:
    waiting = poll(fifo)

    fifo.send("a")

    assert waiting.result() == ["a"]


def test_poll_is_woken_by_a_delete_that_frees_a_group(fifo: ContractQueue, poll: Poll) -> None:
    fifo.send("a")
    fifo.send("b")
    message = fifo.receive(limit=1)[0]
    waiting = poll(fifo)

    fifo.delete(message)

    assert waiting.result() == ["b"]


def test_poll_is_woken_by_visibility_zero(fifo: ContractQueue, poll: Poll) -> None:
    fifo.send("a")
    message = fifo.receive()[0]
    waiting = poll(fifo)

    fifo.show(message, 0)

    assert waiting.result() == ["a"]


def test_poll_is_woken_by_the_end_of_a_visibility_timeout(fifo: ContractQueue, poll: Poll) -> None:
    fifo.send("a")
    fifo.receive(visibility=2)

    assert poll(fifo).result() == ["a"]


def test_poll_is_woken_by_the_end_of_a_delay(standard: ContractQueue, poll: Poll) -> None:
    standard.post("a", DelaySeconds=2)

    assert poll(standard).result() == ["a"]


def test_poll_for_dead_letters_is_woken_by_one(make_queue: MakeQueue, poll: Poll) -> None:
    dead = make_queue()
    queue = make_queue(dead_letters=dead)
    queue.send("a")
    for _ in range(2):
        queue.show(queue.receive()[0], 0)
    waiting = poll(dead)

    assert queue.nothing()

    assert waiting.result() == ["a"]


def test_each_message_wakes_one_poll(fifo: ContractQueue, poll: Poll) -> None:
    waiting = [poll(fifo, limit=1) for _ in range(3)]

    for body in "abc":
        fifo.send(body, group=body)

    received = [body for future in waiting for body in future.result()]
    assert sorted(received) == ["a", "b", "c"]


def test_poll_ends_empty_when_nothing_comes(fifo: ContractQueue) -> None:
    assert fifo.bodies(wait=1) == []


def test_wait_of_the_queue_is_the_default(make_queue: MakeQueue, poll: Poll) -> None:
    queue = make_queue(fifo=False, ReceiveMessageWaitTimeSeconds="20")
    waiting = poll(queue)

    queue.post("a")

    assert waiting.result() == ["a"]
