"""A folder's worth of YAML to write mistakes into."""

from __future__ import annotations

import textwrap

from crds.loader import load_text

POOLS = """\
kind: WorkerPool
metadata: {name: polars}
spec: {runtime: polars}
---
kind: WorkerPool
metadata: {name: python}
spec: {runtime: python}
---
kind: WorkerPool
metadata: {name: ingest}
spec: {runtime: ingest, grants: {coldDatasets: [granted]}}
---
kind: Dataset
metadata: {name: hot}
spec: {tier: hot, columns: [{name: id, type: int64}], uniqueKey: [id]}
---
kind: Dataset
metadata: {name: hot-keyless}
spec: {tier: hot, columns: [{name: id, type: int64}]}
---
kind: Dataset
metadata: {name: cold}
spec: {tier: cold, columns: [{name: id, type: int64}], partitionBy: [id]}
---
kind: Dataset
metadata: {name: cold-whole}
spec: {tier: cold, columns: [{name: id, type: int64}]}
---
kind: Dataset
metadata: {name: granted}
spec: {tier: cold, columns: [{name: id, type: int64}], partitionBy: [id]}
---
"""
FIRST_LINE = POOLS.count("\n")
PYTHON = "runtime: python, with: {entrypoint: 'a:b'}"
SQL = "runtime: polars, with: {sql: select 1}"
HTTP = "runtime: ingest, with: {http: {url: 'http://x', format: csv}}"


def dag(spec: str) -> str:
    return "kind: Dag\nmetadata: {name: d}\nspec:\n" + textwrap.indent(textwrap.dedent(spec), "  ")


def tasks(*lines: str) -> str:
    """Return a Dag whose first task stands in line 5, one task a line."""
    return dag("tasks:\n" + "".join(f"  - {{{line}}}\n" for line in lines))


def problems(text: str) -> list[str]:
    """Return the problems of a text below the pools and datasets, with lines counted from its own start."""
    found = load_text(POOLS + text, "f", ()).problems
    return [str(problem).replace(f"f:{problem.line}: ", f"{problem.line - FIRST_LINE}: ") for problem in found]
