"""Run the local ECS: `python -m controller.local.ecs --port 9325 --services services.json`."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from pathlib import Path

import msgspec

from controller.local import lifeline
from controller.local.awsjson import AwsError
from controller.local.ecs.events import Target
from controller.local.ecs.server import Declared, EcsServer, Options
from controller.local.secrets import SecretsFile, operations
from controller.local.serving import bind, serve, url_of


def main() -> int:
    """Serve until told to stop; every task ends with the server."""
    args = _parser().parse_args()
    if args.lifeline is not None:
        lifeline.watch(args.lifeline)
    try:
        options = _options(args)
        bound = bind(args.port)
    except (OSError, msgspec.DecodeError, AwsError) as error:
        sys.stderr.write(f"local ECS: {error}\n")
        return 1
    serve(lambda: EcsServer(url_of(bound), options).app, bound)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m controller.local.ecs", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 picks a free one")
    parser.add_argument(
        "--services",
        type=Path,
        help='JSON: {"cluster": …, "taskDefinitions": […], "services": […]}, as in the API\'s requests',
    )
    parser.add_argument("--logs-dir", type=Path, help="folder for what tasks print; without it, nowhere")
    parser.add_argument("--events-url", help="takes ECS Task State Change events by POST")
    parser.add_argument("--events-token-file", type=Path, help="bearer token for the events")
    parser.add_argument("--secrets", type=Path, help="YAML file of secrets, to serve Secrets Manager too")
    parser.add_argument(
        "--environment",
        type=Path,
        help='JSON: {"*" or a family: {name: value}}, variables of tasks beside their definition',
    )
    parser.add_argument(
        "--task-addresses", action="store_true", help="give each task an address of its own (127.77.…, on Linux)"
    )
    parser.add_argument("--stop-grace", type=float, default=10.0, help="seconds for tasks to end with the server")
    parser.add_argument("--lifeline", type=int, metavar="FD", help="end when this inherited pipe ends")
    return parser


def _options(args: argparse.Namespace) -> Options:
    declared = msgspec.json.decode(args.services.read_bytes(), type=Declared) if args.services else Declared()
    if args.logs_dir is not None:
        args.logs_dir.mkdir(parents=True, exist_ok=True)
    return Options(
        declared=declared,
        logs_dir=args.logs_dir,
        events=Target(args.events_url, args.events_token_file) if args.events_url else None,
        stop_grace=timedelta(seconds=args.stop_grace),
        environment=args.environment,
        addresses=args.task_addresses,
        operations=operations(SecretsFile(args.secrets)) if args.secrets else {},
    )


if __name__ == "__main__":
    sys.exit(main())
