"""Run chaos: `python -m tests.chaos --help`."""

import sys
from pathlib import Path

# The end-to-end tests are no package: pytest, too, finds their modules by their folder.
sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from tests.chaos.cli import main

sys.exit(main())
