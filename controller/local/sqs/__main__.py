"""Run the local SQS: `python -m controller.local.sqs --port 9324 --queues queues.json`."""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from controller.local.sqs.errors import SqsError
from controller.local.sqs.server import serve


class DeclaredQueue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A queue that exists from the start; a policy may be given as an object instead of as a string."""

    name: str
    attributes: dict[str, str | int | bool | dict[str, str | int]] = {}


def main() -> int:
    """Serve until told to stop."""
    arguments = _parser().parse_args()
    if arguments.lifeline is not None:
        from controller.local.lifeline import watch  # noqa: PLC0415 - needed only with the option

        watch(arguments.lifeline)
    try:
        declared = _declared(arguments.queues) if arguments.queues else {}
        asyncio.run(serve(arguments.port, declared, arguments.region))
    except (OSError, msgspec.DecodeError, SqsError) as error:
        print(f"local SQS: {error}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m controller.local.sqs", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--queues", type=Path, help='JSON: [{"name": …, "attributes": {…}}, …]')
    parser.add_argument("--region", default="us-east-1", help="region in the ARNs of queues")
    parser.add_argument("--lifeline", type=int, help="inherited pipe; the server ends when it is closed")
    return parser


def _declared(path: Path) -> Mapping[str, Mapping[str, str]]:
    queues = msgspec.json.decode(path.read_bytes(), type=list[DeclaredQueue])
    return {queue.name: {key: _text(value) for key, value in queue.attributes.items()} for queue in queues}


def _text(value: str | int | bool | dict[str, str | int]) -> str:  # noqa: FBT001 - a JSON value
    """Write an attribute as SQS wants it: everything is a string."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


if __name__ == "__main__":
    sys.exit(main())
