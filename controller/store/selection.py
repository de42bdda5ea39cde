"""What a list asks for: names, labels, a page; and the SQL of a label selector, written once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, LiteralString

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE_LIMIT = 500

# One value of each list in `within`, none of those in `without`, every key of `present` and none of `absent`.
LABELS_MATCH: LiteralString = """
        NOT EXISTS (SELECT FROM jsonb_each(%(within)s) w WHERE NOT coalesce(w.value ? (labels->>w.key), false))
    AND NOT EXISTS (SELECT FROM jsonb_each(%(without)s) w WHERE w.value ? (labels->>w.key))
    AND labels ?& %(present)s::text[]
    AND NOT labels ?| %(absent)s::text[]
"""


@dataclass(frozen=True, slots=True)
class Labels:
    """A parsed label selector."""

    within: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def params(self) -> dict[str, object]:
        """Return the parameters of LABELS_MATCH."""
        return {
            "within": Jsonb({key: list(values) for key, values in self.within.items()}),
            "without": Jsonb({key: list(values) for key, values in self.without.items()}),
            "present": list(self.present),
            "absent": list(self.absent),
        }


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a namespace a list wants; `after` is the sort key of the last one on the page before."""

    namespace: str
    name: str | None = None
    dag: str | None = None
    run: str | None = None
    task: str | None = None
    phase: str | None = None
    labels: Labels = Labels()
    after: tuple[str, ...] | None = None
    limit: int = PAGE_LIMIT
