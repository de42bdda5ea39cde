"""Run one worker process, or check whether one could run here: `python -m workers [--check [-o json]]`."""

from __future__ import annotations

import argparse
import sys

from workers import check
from workers.main import main


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="only check what a worker needs; exit 1 if something is missing"
    )
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text", help="how --check tells")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    sys.exit(check.main(arguments.output) if arguments.check else main())
