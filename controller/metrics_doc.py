"""`python -m controller.metrics_doc [--check]`: the dispatcher's table in docs/metrics.md."""

from __future__ import annotations

import sys

from controller.runtime.metrics import INSTRUMENTS
from crds.metrics_table import main

if __name__ == "__main__":
    sys.exit(main("dispatcher", "python -m controller.metrics_doc", INSTRUMENTS.declared, sys.argv[1:]))
