"""Write what is made from the definitions, or with --check say what is not up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from controller.monitoring import cloudwatch, grafana, handbook, prometheus
from controller.monitoring.model import load

ROOT = Path(__file__).resolve().parents[2]
GENERATED = Path(__file__).parent / "generated"
TERRAFORM = ROOT / "terraform" / "modules" / "monitoring" / "generated"
HANDBOOK = ROOT / "docs" / "alerts.md"


def files() -> dict[Path, str]:
    """Return every generated file with what it shall hold."""
    definitions = load()
    return {
        GENERATED / "prometheus-rules.yaml": prometheus.rules(definitions),
        GENERATED / "grafana-dashboard.json": grafana.dashboard(definitions),
        TERRAFORM / "alarms.json": cloudwatch.alarms(definitions),
        TERRAFORM / "dashboard.json": cloudwatch.dashboard(definitions),
        HANDBOOK: handbook.page(HANDBOOK.read_text(encoding="utf-8"), definitions),
    }


def main() -> int:
    """Write the files; with --check only compare, and return 1 if one differs."""
    parser = argparse.ArgumentParser(prog="python -m controller.monitoring", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a file is not up to date")
    check = parser.parse_args().check
    stale = {p: text for p, text in files().items() if not p.is_file() or p.read_text(encoding="utf-8") != text}
    for path, text in stale.items():
        name = path.relative_to(ROOT)
        if check:
            sys.stderr.write(f"{name} is not up to date; run `python -m controller.monitoring`\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{name} written\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
