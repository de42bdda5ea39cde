"""Plant known bugs, one at a time, and show that each is caught: `python -m tests.mutation [NAME …]`."""

from __future__ import annotations

import argparse
import sys

from tests.mutation.campaign import campaign
from tests.mutation.mutants import MUTANTS


def main() -> int:
    """Return the exit status: 0 if every mutant was caught by the check that it belongs to."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MUTANTS)}; all by default")
    parser.add_argument(
        "--seeds", type=int, default=1_500, help="how many schedules may go well before one has survived"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many are hunted at once")
    wanted = parser.parse_args()
    unknown = sorted(set(wanted.names) - MUTANTS.keys())
    if unknown:
        parser.error(f"there is no mutant {unknown[0]}; there are {', '.join(MUTANTS)}")
    return campaign([MUTANTS[name] for name in wanted.names or MUTANTS], wanted.seeds, wanted.jobs)


if __name__ == "__main__":
    sys.exit(main())
