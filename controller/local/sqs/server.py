"""The shell of the local SQS: requests in, state machines, answers out; one timer for all that waits."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from controller.local.sqs import message_operations as messages
from controller.local.sqs import queue_operations as queues
from controller.local.sqs import requests
from controller.local.sqs.account import Account
from controller.local.sqs.errors import SqsError
from controller.local.sqs.http import Exchange, HttpProtocol, Response
from controller.local.sqs.moves import Moves
from controller.local.sqs.polls import Poll, Polls

_BACKLOG = 1_024
_TARGET_PREFIX = "AmazonSQS."
_log = logging.getLogger(__name__)

Operation = tuple[msgspec.json.Decoder[Any], Callable[[Any, float], Any]]


class Server:
    """Answers requests on one account; single-threaded, so each request sees and leaves a whole state."""

    def __init__(self, account: Account, clock: Callable[[], float]) -> None:
        self._account = account
        self._clock = clock
        self._moves = Moves(account)
        self._polls = Polls(account)
        self._operations = _operations(account, self._moves)
        self._encoder = msgspec.json.Encoder()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None

    def handle(self, exchange: Exchange) -> None:
        """Answer one request, or let it wait; then serve those that waited for what it did."""
        now = self._clock()
        try:
            result = self._result(exchange, now)
        except SqsError as error:
            exchange.respond(self._refusal(error))
        except Exception:  # noqa: BLE001 - a fault in one request must not end the others
            _log.exception("%s failed; this is a fault of the local SQS", exchange.target)
            exchange.respond(self._refusal(SqsError("InternalError", "See the local SQS's log.", status=500)))
        else:
            if isinstance(result, Poll):
                self._receive(exchange, result, now)
            else:
                exchange.respond(Response(self._encoder.encode(result)))
        self._advance(now)

    def _result(self, exchange: Exchange, now: float) -> Any:
        name = exchange.target.removeprefix(_TARGET_PREFIX)
        operation = self._operations.get(name)
        if operation is None:
            text = f"The local SQS does not know {name or 'requests without X-Amz-Target'}: use AWS JSON 1.0."
            raise SqsError("UnknownOperationException", text)
        decoder, act = operation
        try:
            request = decoder.decode(exchange.body or b"{}")
        except msgspec.ValidationError as error:
            raise SqsError("InvalidParameterValue", f"The request is invalid: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SqsError("SerializationException", f"The request is no JSON: {error}") from error
        return act(request, now)

    def _receive(self, exchange: Exchange, poll: Poll, now: float) -> None:
        poll.answer = lambda reply: exchange.respond(Response(self._encoder.encode(reply)))
        deliveries = self._account.receive(poll.queue, poll.limit, poll.visibility, now, poll.attempt)
        if deliveries or poll.deadline <= now:
            poll.finish(deliveries)
            return
        exchange.gone = lambda: self._polls.cancel(poll)
        self._polls.wait(poll)

    def _advance(self, now: float) -> None:
        """Serve what can be served now, and set the timer for what comes next."""
        self._moves.advance(now)
        self._polls.serve(now)
        wakes = (self._moves.next_wake(), self._polls.next_wake(now))
        self._set_timer(min((wake for wake in wakes if wake is not None), default=None), now)

    def _set_timer(self, wake: float | None, now: float) -> None:
        if wake == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = wake
        self._timer = None
        if wake is not None:
            self._timer = asyncio.get_running_loop().call_later(max(wake - now, 0), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_at = None
        self._advance(self._clock())

    def _refusal(self, error: SqsError) -> Response:
        body = {"__type": f"com.amazonaws.sqs#{error.shape}", "message": error.message}
        headers = {"x-amzn-query-error": f"{error.code};Sender"}
        return Response(self._encoder.encode(body), error.status, headers)


async def serve(port: int, declared: Mapping[str, Mapping[str, str]], region: str) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT; the declared queues exist from the first request on."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock = _steady_clock()
    account = Account(region, clock())
    _declare(account, declared, clock())
    server = Server(account, clock)
    connections: set[asyncio.Transport] = set()
    listener = await loop.create_server(
        lambda: HttpProtocol(server.handle, connections), "127.0.0.1", port, backlog=_BACKLOG
    )
    account.base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    print(f"listening on {account.base_url}", flush=True)  # noqa: T201 - the line that a starter waits for
    await stop.wait()
    listener.close()
    for connection in tuple(connections):
        connection.abort()


def _declare(account: Account, declared: Mapping[str, Mapping[str, str]], now: float) -> None:
    """Create the declared queues, in any order: dead-letter queues are named once all exist."""
    for name, attributes in declared.items():
        account.create(name, {key: value for key, value in attributes.items() if key != "RedrivePolicy"}, {}, now)
    for name, attributes in declared.items():
        if "RedrivePolicy" in attributes:
            policy = {"RedrivePolicy": attributes["RedrivePolicy"]}
            account.change(account.by_url(name), policy, now)


def _steady_clock() -> Callable[[], float]:
    """Return a clock of epoch seconds that no adjustment of the host's time moves."""
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset


def _operations(account: Account, moves: Moves) -> Mapping[str, Operation]:
    def on(part: Any, request: type, act: Callable[[Any, Any, float], Any]) -> Operation:
        return msgspec.json.Decoder(request), lambda decoded, now: act(part, decoded, now)

    return {
        "CancelMessageMoveTask": on(moves, requests.CancelMessageMoveTask, queues.cancel_message_move_task),
        "ChangeMessageVisibility": on(account, requests.ChangeMessageVisibility, messages.change_message_visibility),
        "ChangeMessageVisibilityBatch": on(
            account, requests.ChangeMessageVisibilityBatch, messages.change_message_visibility_batch
        ),
        "CreateQueue": on(account, requests.CreateQueue, queues.create_queue),
        "DeleteMessage": on(account, requests.DeleteMessage, messages.delete_message),
        "DeleteMessageBatch": on(account, requests.DeleteMessageBatch, messages.delete_message_batch),
        "DeleteQueue": on(account, requests.OnQueue, queues.delete_queue),
        "GetQueueAttributes": on(account, requests.GetQueueAttributes, queues.get_queue_attributes),
        "GetQueueUrl": on(account, requests.GetQueueUrl, queues.get_queue_url),
        "ListDeadLetterSourceQueues": on(
            account, requests.ListDeadLetterSourceQueues, queues.list_dead_letter_source_queues
        ),
        "ListMessageMoveTasks": on(moves, requests.ListMessageMoveTasks, queues.list_message_move_tasks),
        "ListQueueTags": on(account, requests.OnQueue, queues.list_queue_tags),
        "ListQueues": on(account, requests.ListQueues, queues.list_queues),
        "PurgeQueue": on(account, requests.OnQueue, queues.purge_queue),
        "ReceiveMessage": on(account, requests.ReceiveMessage, messages.receive_message),
        "SendMessage": on(account, requests.SendMessage, messages.send_message),
        "SendMessageBatch": on(account, requests.SendMessageBatch, messages.send_message_batch),
        "SetQueueAttributes": on(account, requests.SetQueueAttributes, queues.set_queue_attributes),
        "StartMessageMoveTask": on(moves, requests.StartMessageMoveTask, queues.start_message_move_task),
        "TagQueue": on(account, requests.TagQueue, queues.tag_queue),
        "UntagQueue": on(account, requests.UntagQueue, queues.untag_queue),
    }
