"""Run the local Lambda: `python -m controller.local.lambda_ --port 9326 --functions functions.json`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import msgspec

from controller.local import lifeline
from controller.local.lambda_.function import Function
from controller.local.lambda_.pool import Limits
from controller.local.lambda_.server import make_app
from controller.local.serving import bind, serve


def main() -> int:
    """Serve until told to stop; every child ends with the server."""
    args = _parser().parse_args()
    if args.lifeline is not None:
        lifeline.watch(args.lifeline)
    if find_spec("awslambdaric") is None:
        return _fail("awslambdaric is missing: pip install 'setpoint[local]'")
    try:
        functions = msgspec.json.decode(args.functions.read_bytes(), type=list[Function])
        bound = bind(args.port)
    except (OSError, msgspec.DecodeError) as error:
        return _fail(str(error))
    with tempfile.TemporaryDirectory(prefix="setpoint-lambda-") as temporary:
        logs_dir = args.logs_dir or Path(temporary)
        logs_dir.mkdir(parents=True, exist_ok=True)
        limits = Limits(args.max_instances, args.retry_seconds)
        serve(lambda: make_app(functions, logs_dir, limits), bound)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m controller.local.lambda_", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 picks a free one")
    parser.add_argument(
        "--functions",
        type=Path,
        required=True,
        help='JSON: [{"name", "handler", "code_dir", "timeout" (seconds), "memory" (MB), "env"}, …]',
    )
    parser.add_argument("--logs-dir", type=Path, help="folder for what functions print; default: a temporary one")
    parser.add_argument("--max-instances", type=int, default=10, help="children per function at once")
    parser.add_argument("--retry-seconds", type=float, default=60.0, help="first wait of failed Event invocations")
    parser.add_argument("--lifeline", type=int, metavar="FD", help="end when this inherited pipe ends")
    return parser


def _fail(message: str) -> int:
    sys.stderr.write(f"local Lambda: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
