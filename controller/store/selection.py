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

# A Dag that a scoped caller may see; `owner` is its row, whose uid the query names.
_OWNER_MATCHES: LiteralString = (
    LABELS_MATCH.replace("labels", "owner.labels")
    .replace("%(within)s", "%(scope_within)s")
    .replace("%(without)s", "%(scope_without)s")
    .replace("%(present)s", "%(scope_present)s")
    .replace("%(absent)s", "%(scope_absent)s")
)
# Without a scope the planner drops the whole condition; with one it is a look at the primary key for each row.
IN_SCOPE_OF_RUN: LiteralString = (
    "(NOT %(scoped)s::boolean OR EXISTS (SELECT FROM resource owner WHERE owner.uid = run.dag_uid AND "
    + _OWNER_MATCHES
    + "))"
)
IN_SCOPE_OF_RESOURCE: LiteralString = IN_SCOPE_OF_RUN.replace("run.dag_uid", "resource.uid")
OWNER_BY_NAME: LiteralString = (
    "SELECT FROM resource owner WHERE owner.kind = 'Dag' AND owner.namespace = event.namespace"
    " AND owner.name = event.name AND " + _OWNER_MATCHES
)
OWNER_OF_RUN: LiteralString = (
    "SELECT FROM run JOIN resource owner ON owner.uid = run.dag_uid WHERE run.uid = event.run_uid AND " + _OWNER_MATCHES
)


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

    def match(self, labels: Mapping[str, str]) -> bool:
        """Tell what LABELS_MATCH would of an object's labels."""
        return (
            all(labels.get(key) in values for key, values in self.within.items())
            and not any(labels.get(key) in values for key, values in self.without.items())
            and all(key in labels for key in self.present)
            and not any(key in labels for key in self.absent)
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """The Dags that a caller is confined to: a label selector, as it was written and as it was read."""

    text: str
    labels: Labels


def scope_params(scope: Scope | None) -> dict[str, object]:
    """Return the parameters of the conditions above."""
    labels = scope.labels if scope else Labels()
    return {"scoped": scope is not None} | {f"scope_{key}": value for key, value in labels.params().items()}


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
    scope: Scope | None = None
    after: tuple[str, ...] | None = None
    limit: int = PAGE_LIMIT
