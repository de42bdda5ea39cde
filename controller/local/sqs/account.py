"""All queues of the local SQS, and what happens between them: names, ARNs, dead letters."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Final

from controller.local.sqs.errors import SqsError, invalid_value, no_such_queue
from controller.local.sqs.queue import Delivery, Queue
from controller.local.sqs.settings import Redrive, Settings, changed_attributes, new_attributes

ACCOUNT_ID: Final = "000000000000"
# SQS shows twenty digits; starting at the clock keeps numbers growing across restarts.
_FIRST_SEQUENCE = 10**19
_SEQUENCES_PER_SECOND = 10**9


class Account:
    """The queues of one account in one region."""

    def __init__(self, region: str, now: float) -> None:
        self.base_url = "http://127.0.0.1"
        self._arn_prefix = f"arn:aws:sqs:{region}:{ACCOUNT_ID}:"
        self._queues: dict[str, Queue] = {}
        self._sequences = count(_FIRST_SEQUENCE + int(now * _SEQUENCES_PER_SECOND))

    def create(self, name: str, given: Mapping[str, str], tags: Mapping[str, str], now: float) -> Queue:
        """Create a queue; the same name with the same attributes is the same queue."""
        existing = self._queues.get(name)
        if existing is not None:
            for attribute, value in given.items():
                if existing.attributes.get(attribute) != value:
                    text = "A queue already exists with the same name and a different value for attribute"
                    raise SqsError("QueueNameExists", f"{text} {attribute}")
            return existing
        attributes = new_attributes(name, given)
        self._check_redrive(attributes, fifo=Settings.of(attributes).fifo)
        queue = Queue(name, attributes, now, self._sequences.__next__)
        queue.tags.update(tags)
        self._queues[name] = queue
        return queue

    def change(self, queue: Queue, given: Mapping[str, str], now: float) -> None:
        """Set attributes of a queue."""
        attributes = changed_attributes(queue.attributes, given)
        if "RedrivePolicy" in given:
            self._check_redrive(attributes, fifo=queue.settings.fifo)
        queue.change(attributes, now)

    def delete(self, queue: Queue) -> None:
        """Delete a queue with all that is in it."""
        del self._queues[queue.name]

    def names(self) -> Sequence[str]:
        """Return the names of all queues, in order."""
        return sorted(self._queues)

    def by_url(self, url: str) -> Queue:
        """Return the queue of a URL, whatever host and account it names."""
        queue = self._queues.get(url.rpartition("/")[2])
        if queue is None:
            raise no_such_queue()
        return queue

    def by_arn(self, arn: str) -> Queue | None:
        """Return the queue of an ARN, whatever region and account it names."""
        return self._queues.get(arn.rpartition(":")[2])

    def url(self, name: str) -> str:
        """Return the URL of a queue."""
        return f"{self.base_url}/{ACCOUNT_ID}/{name}"

    def arn(self, queue: Queue) -> str:
        """Return the ARN of a queue."""
        return self._arn_prefix + queue.name

    def sources(self, target: Queue) -> Iterator[Queue]:
        """Yield the queues whose dead letters go to `target`, in order of name."""
        for name in self.names():
            redrive = self._queues[name].settings.redrive
            if redrive is not None and self.by_arn(redrive.target_arn) is target:
                yield self._queues[name]

    def receive(
        self, queue: Queue, limit: int, visibility: int | None, now: float, attempt: str = ""
    ) -> tuple[Delivery, ...]:
        """Receive from a queue, and move what was received too often to its dead-letter queue."""
        redrive = queue.settings.redrive
        target = self.by_arn(redrive.target_arn) if redrive else None
        max_receives = redrive.max_receives if redrive and target else None
        received = queue.receive(limit, visibility, now, max_receives=max_receives, attempt=attempt)
        for entry in received.dead:
            assert target is not None  # noqa: S101 - nothing is dead without a place to go
            target.take_in(entry.message, entry.received, now, source=self.arn(queue))
        return received.deliveries

    def _check_redrive(self, attributes: Mapping[str, str], *, fifo: bool) -> None:
        redrive: Redrive | None = Settings.of(attributes).redrive
        if redrive is None:
            return
        target = self.by_arn(redrive.target_arn)
        if target is None:
            reason = "Dead letter target does not exist."
        elif target.settings.fifo != fifo:
            reason = "Dead-letter queue must be same type of queue as the source."
        else:
            return
        raise invalid_value(attributes["RedrivePolicy"], "RedrivePolicy", reason)
