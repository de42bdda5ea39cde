"""What a run of chaos found, as lines and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.verdict import Broken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.chaos.verdict import Violation

SHOWN = 20
"""How many violations are printed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures and violations of one run."""

    profile: str
    seed: int
    minutes: float
    runs: int
    tasks: int
    attempts: Mapping[str, int]
    """Phase and reason → attempts."""
    faults: Mapping[str, int]
    recoveries: Sequence[float]
    settled_s: float
    violations: Sequence[Violation]

    @property
    def held(self) -> bool:
        """Tell whether the promise held."""
        return not self.violations

    def figures(self) -> dict[str, object]:
        """Return everything, in plain values."""
        broken = Counter(violation.kind for violation in self.violations)
        return {
            "profile": self.profile,
            "seed": self.seed,
            "minutes": self.minutes,
            "runs": self.runs,
            "jobs": self.tasks,
            **{f"jobs_{kind}": broken[kind] for kind in Broken},
            "chaos_recovery_time_s": {
                "n": len(self.recoveries),
                "p50": _percentile(self.recoveries, 0.5),
                "p99": _percentile(self.recoveries, 0.99),
            },
            "settled_s": round(self.settled_s, 1),
            "faults": dict(sorted(self.faults.items())),
            "attempts": dict(sorted(self.attempts.items())),
            "violations": [f"{violation.kind}: {violation.text}" for violation in self.violations],
            "held": self.held,
        }

    def json(self) -> str:
        """Return one JSON line."""
        return json.dumps(self.figures())

    def lines(self) -> str:
        """Return what people read."""
        found = self.figures()
        p50, p99 = _percentile(self.recoveries, 0.5), _percentile(self.recoveries, 0.99)
        told = [
            f"chaos: profile {self.profile}, seed {self.seed}, {self.minutes:g} minutes",
            f"runs: {self.runs}, jobs: {self.tasks}, attempts: {_listed(self.attempts)}",
            f"faults: {_listed(self.faults)}",
            *(f"jobs_{kind}: {found[f'jobs_{kind}']}" for kind in Broken),
            f"chaos_recovery_time_s p50={p50} p99={p99} (n={len(self.recoveries)})",
            f"all was final {self.settled_s:.0f} s after the last fault",
            *(f"  {violation.kind}: {violation.text}" for violation in self.violations[:SHOWN]),
            "the promise held" if self.held else f"BROKEN in {len(self.violations)} places",
        ]
        return "\n".join(told)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _percentile(values: Sequence[float], part: float) -> float | None:
    """Return the nearest-rank percentile, None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[max(-int(-part * len(ordered) // 1) - 1, 0)], 2)
