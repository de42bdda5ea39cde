"""`python -m workers.metrics_doc [--check]`: the workers' table in docs/metrics.md."""

from __future__ import annotations

import sys

from crds.metrics_table import main
from workers.metrics import Metrics

if __name__ == "__main__":
    sys.exit(main("worker", "python -m workers.metrics_doc", Metrics().instruments.declared, sys.argv[1:]))
