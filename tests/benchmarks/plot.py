"""Draw the results beside those of others: `python -m tests.benchmarks plot RESULTS.jsonl OUT.svg`."""

from __future__ import annotations

import argparse
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.results import read
from tests.benchmarks.targets import TARGETS, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OURS = "Setpoint"
SHOWN = 7
"""Bars in a panel at most: ours, and the best of others."""
COLUMNS = 2
WIDTH, BAR, GAP, HEAD, NAMES, VALUES = 470, 15, 4, 30, 190, 60
LEAST_BAR = 2.0
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#57606a}.title{font-weight:600;fill:#24292f}"
    ".ours{fill:#0969da}.other{fill:#c4ccd4}.us{font-weight:600;fill:#0969da}"
    "@media(prefers-color-scheme:dark){text{fill:#9198a1}.title{fill:#f0f6fc}.other{fill:#3d444d}.us{fill:#4493f8}}"
)


def main(arguments: Sequence[str]) -> int:
    """Write the picture of a file of results."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks plot", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args(arguments)
    ours = {(r.workload, name): s.median for r in read(options.results) for name, s in r.figures.items()}
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    options.picture.write_text(draw(ours))
    return 0


def draw(ours: Mapping[tuple[str, str], float]) -> str:
    """Return an SVG of a panel for each figure that we have measured and others have too."""
    shown = [target for target in TARGETS if (target.workload, target.figure) in ours and target.others]
    panel_height = HEAD + SHOWN * (BAR + GAP) + 12
    panels = []
    for number, target in enumerate(shown):
        row, column = divmod(number, COLUMNS)
        panel = _panel(target, ours[target.workload, target.figure])
        panels.append(f'<g transform="translate({column * WIDTH},{row * panel_height})">{panel}</g>')
    height = math.ceil(len(shown) / COLUMNS) * panel_height
    size = f'width="{COLUMNS * WIDTH}" height="{height}" viewBox="0 0 {COLUMNS * WIDTH} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>{"".join(panels)}</svg>\n'


def _panel(target: Target, value: float) -> str:
    others = list(target.others.items())[: SHOWN - 1]
    bars = sorted([(OURS, value), *others], key=lambda bar: bar[1], reverse=target.more_is_better)
    better = "more is better" if target.more_is_better else "less is better"
    parts = [f'<text class="title" x="4" y="18">{escape(f"{target.workload}: {target.label} ({better})")}</text>']
    widths = _widths([number for _, number in bars])
    for place, ((name, number), width) in enumerate(zip(bars, widths, strict=True)):
        top = HEAD + place * (BAR + GAP)
        bar, text = ("ours", "us") if name == OURS else ("other", "them")
        parts.append(f'<text class="{text}" x="{NAMES - 6}" y="{top + 11}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="{bar}" x="{NAMES}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2"/>')
        parts.append(f'<text class="{text}" x="{NAMES + width + 5:.1f}" y="{top + 11}">{number:.3g}</text>')
    return "".join(parts)


def _widths(numbers: Sequence[float]) -> list[float]:
    """Return widths in proportion: a bar twice as long is twice the number."""
    room = WIDTH - NAMES - VALUES
    return [max(LEAST_BAR, room * number / max(*numbers, 1e-9)) for number in numbers]
