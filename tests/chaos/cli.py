"""The command line: `python -m tests.chaos --minutes 10`."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import time
from typing import TYPE_CHECKING

from tests.chaos.chaos import Chaos, Options, folder
from tests.chaos.plan import PROFILES

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run chaos; return the exit status: 0 if the promise held."""
    given = vars(_parser().parse_args(arguments))
    output = given.pop("output")
    if given["seed"] is None:
        given["seed"] = secrets.randbelow(1_000_000)
    options = Options(**given)
    # However it is told to stop, it takes the system along.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    _say(f"profile {options.profile}, {options.minutes:g} minutes; the same plan again: --seed {options.seed}")
    try:
        with folder(keep=options.keep) as path:
            _say(f"folder {path}")
            outcome = Chaos(options, path, _say).run()
    except KeyboardInterrupt:
        _say("interrupted; everything is stopped")
        return INTERRUPTED
    sys.stdout.write(f"{outcome.json() if output == 'json' else outcome.lines()}\n")
    return 0 if outcome.held else 1


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    usual = Options()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=usual.minutes, help="how long faults go on")
    parser.add_argument("--seed", type=int, help="of the plan of faults, in kind and time; drawn and printed if absent")
    parser.add_argument("--profile", choices=sorted(PROFILES), default=usual.profile, help="which faults")
    parser.add_argument("--rate", type=float, default=usual.rate, help="2 makes faults come twice as often")
    parser.add_argument("--load", type=float, default=usual.load, help="runs that are triggered a second")
    parser.add_argument("--settle", type=float, default=usual.settle, help="seconds to wait for the end of all runs")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the system, with its logs and data")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    return parser
