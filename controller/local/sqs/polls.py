"""Long polls of the local SQS: receives that wait until there is something to receive."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from controller.local.sqs.account import Account
from controller.local.sqs.queue import Delivery, Queue


@dataclass(slots=True, eq=False)
class Poll:
    """One receive, which may wait until its deadline; `answer` is called once unless it is cancelled."""

    queue: Queue
    limit: int
    visibility: int | None
    attempt: str
    deadline: float
    render: Callable[[tuple[Delivery, ...]], object]
    answer: Callable[[object], None] | None = None
    done: bool = False

    def finish(self, deliveries: tuple[Delivery, ...]) -> None:
        """Answer, with nothing if the deadline passed."""
        self.done = True
        if self.answer is not None:
            self.answer(self.render(deliveries))


class Polls:
    """The waiting receives of all queues, first come, first served."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._waiting: dict[Queue, deque[Poll]] = {}
        self._deadlines: list[tuple[float, int, Poll]] = []
        self._order = count()

    def wait(self, poll: Poll) -> None:
        """Let a receive wait."""
        self._waiting.setdefault(poll.queue, deque()).append(poll)
        heappush(self._deadlines, (poll.deadline, next(self._order), poll))

    def cancel(self, poll: Poll) -> None:
        """Forget a receive whose client is gone, so that no message is delivered to nobody."""
        poll.done = True

    def serve(self, now: float) -> None:
        """Answer the receives for which there is something, and those whose deadline passed."""
        for queue in tuple(self._waiting):
            self._serve(queue, self._waiting[queue], now)
        while self._deadlines and (self._deadlines[0][2].done or self._deadlines[0][0] <= now):
            poll = heappop(self._deadlines)[2]
            if not poll.done:
                poll.finish(())

    def next_wake(self, now: float) -> float | None:
        """Return when a waiting receive has to be looked at again without anyone's doing."""
        # A queue that was served may have sent dead letters to one that came before it.
        wakes = [now if queue.ready(now) else queue.next_wake() for queue in self._waiting]
        deadline = self._deadlines[0][0] if self._deadlines else None
        return min((wake for wake in (*wakes, deadline) if wake is not None), default=None)

    def _serve(self, queue: Queue, polls: deque[Poll], now: float) -> None:
        while polls:
            if polls[0].done:
                polls.popleft()
                continue
            if not queue.ready(now):
                return
            poll = polls[0]
            deliveries = self._account.receive(queue, poll.limit, poll.visibility, now, poll.attempt)
            if deliveries:
                polls.popleft()
                poll.finish(deliveries)
        del self._waiting[queue]
