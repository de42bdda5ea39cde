"""Many tasks and many runs at once: all of them end, each row is there once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from e2e_system import eventually

if TYPE_CHECKING:
    from e2e_system import Up

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.slow]

HEAD = """
apiVersion: setpoint.dev/v1
kind: Dag
metadata: {{name: {name}}}
spec:
  concurrency: {{maxActiveRuns: 1000}}
  tasks:
"""
TASK = """
    - name: {name}
      runtime: python
      needs: [{needs}]
      outputs: {{out: {{dataset: effects, mode: append}}}}
      with: {{entrypoint: "lab:mark"}}
"""


def add_dag(system: Up, name: str, tasks: dict[str, list[str]]) -> None:
    """Add a DAG whose tasks each add their row; wait until it is applied."""
    folder = system.dags / name
    folder.mkdir()
    (folder / "lab.py").write_text((system.dags / "lab" / "lab.py").read_text())
    body = "".join(TASK.format(name=task, needs=", ".join(needs)) for task, needs in tasks.items())
    (folder / "dag.yaml").write_text(HEAD.format(name=name) + body)
    eventually(f"{name} is applied", lambda: name in {d["metadata"]["name"] for d in system.objects("dags")})


@pytest.mark.parametrize("width", [pytest.param(20, id="20 tasks"), pytest.param(300, id="300 tasks")])
def test_a_fan(system: Up, width: int) -> None:
    leaves = {f"leaf-{n:03}": ["root"] for n in range(width)}
    add_dag(system, f"fan-{width}", {"root": [], **leaves, "join": list(leaves)})
    run = system.trigger(f"fan-{width}")
    assert system.ended(run, 150) == "Succeeded"
    assert sorted(system.effects(run)) == sorted((task, 1) for task in ("root", *leaves, "join"))


def test_two_hundred_runs_at_once(system: Up) -> None:
    add_dag(system, "many", {"first": [], "second": ["first"]})
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: system.trigger("many"), range(200)))
    assert len(set(runs)) == 200
    for run in runs:
        assert system.ended(run, 150) == "Succeeded"
    found = system.rows("SELECT run, count(*) AS n FROM hot.effects WHERE run = ANY(%s) GROUP BY run", runs)
    assert {row["n"] for row in found} == {2}
    assert len(found) == 200
