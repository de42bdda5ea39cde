"""Run many schedules, or one of them again: `python -m tests.simulation --seeds 10000` or `--replay SEED`."""

from __future__ import annotations

import argparse
import os
import sys

from tests.simulation.campaign import Campaign, replay


def main() -> int:
    """Return the exit status: 0 if every promise was held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many schedules to run")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="SEED", help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many to run at once")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run this one, and shorten it if it fails")
    parser.add_argument("--whole", action="store_true", help="with --replay: do not shorten a failure")
    wanted = parser.parse_args()
    # Sets of texts come in another order in every process, unless their hashes are the same.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    if wanted.replay is not None:
        return replay(wanted.replay, shorten=not wanted.whole)
    return Campaign(wanted.first, wanted.seeds, wanted.jobs).run()


if __name__ == "__main__":
    sys.exit(main())
