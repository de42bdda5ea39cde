"""Edit the files of a DAG while the system runs: good saves become revisions, bad ones are reported and change nothing."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import pytest
from e2e_system import Up, eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

DAG = """
apiVersion: setpoint.dev/v1
kind: Dag
metadata: {name: edited}
spec:
  params: {type: object, properties: {gate: {type: string}}}
  tasks:
    - name: work
      runtime: python
      with: {entrypoint: "work:work"}
    - name: tell
      runtime: python
      needs: [work]
      with: {entrypoint: "work:tell"}
"""
MORE = """
    - name: added
      runtime: python
      needs: [tell]
      with: {entrypoint: "work:tell"}
"""
CODE = """
import time
from pathlib import Path

VERSION = "first"

def work(ctx):
    gate = Path(ctx.params["gate"])
    (gate / f"work.{ctx.run.number}.new").write_text("0")
    (gate / f"work.{ctx.run.number}.new").rename(gate / f"work.{ctx.run.number}.started")
    while not (gate / "open").exists():
        time.sleep(0.02)

def tell(ctx):
    return {"version": VERSION}
"""


@pytest.fixture
def folder(system: Up) -> Path:
    path = system.dags / "edited"
    path.mkdir(exist_ok=True)
    (path / "work.py").write_text(CODE)
    (path / "dag.yaml").write_text(DAG)
    before = _revision(system)
    eventually("the DAG is as in the beginning", lambda: _version(system, "first", before))
    return path


def test_a_run_keeps_its_revision(system: Up, folder: Path) -> None:
    gate = system.gate(f"edit-{_revision(system)}")
    before = _revision(system)
    run = system.trigger("edited", gate=gate.folder)
    eventually("it runs", (gate.folder / "work.1.started").exists)

    (folder / "work.py").write_text(CODE.replace("first", "second"))
    eventually("the new code is a revision", lambda: _revision(system) == before + 1)
    (folder / "dag.yaml").write_text(DAG + MORE)
    eventually("the new task is a revision", lambda: _revision(system) == before + 2)
    gate.open()

    assert system.ended(run) == "Succeeded"
    assert system.run(run)["spec"]["revision"] == before
    assert {t: s["outputs"] for t, s in system.tasks(run).items()} == {"work": {}, "tell": {"version": "first"}}
    later = system.trigger("edited", gate=gate.folder)
    assert system.ended(later) == "Succeeded"
    assert system.run(later)["spec"]["revision"] == before + 2
    second = {"version": "second"}
    assert {t: s["outputs"] for t, s in system.tasks(later).items()} == {"work": {}, "tell": second, "added": second}


@pytest.mark.parametrize(
    ("name", "bad", "told"),
    [
        pytest.param("dag.yaml", DAG.replace("needs:", "need:"), 'did you mean "needs"?', id="unknown field"),
        pytest.param("dag.yaml", DAG[: len(DAG) // 2], "dag.yaml:", id="half written"),
        pytest.param("dag.yaml", DAG + "\t: {", "dag.yaml:", id="no YAML"),
        pytest.param("work.py", CODE[:-40] + "\n  def (", "work.py", id="no Python"),
        pytest.param("work.py", CODE.replace("def tell", "def toll"), 'no function "tell"', id="entrypoint gone"),
    ],
)
def test_a_bad_save_is_reported_and_changes_nothing(system: Up, folder: Path, name: str, bad: str, told: str) -> None:
    before, said = _revision(system), len(system.output.read_text())
    (folder / name).write_text(bad)
    eventually("the problem is told", lambda: told in system.output.read_text()[said:])
    assert _revision(system) == before

    good = {"dag.yaml": DAG, "work.py": CODE}[name]
    (folder / name).write_text(good + "\n# mended\n")
    (folder / "work.py").write_text(CODE.replace("first", f"mended {before}"))
    eventually("the next good save converges", lambda: _revision(system) > before)


def _revision(system: Up) -> int:
    names = {d["metadata"]["name"]: d["status"]["revision"] for d in system.objects("dags")}
    return int(names.get("edited", 0))


def _version(system: Up, version: str, before: int) -> bool:
    """Tell whether the newest revision has the tasks and the code of the beginning."""
    if not _revision(system):
        return False
    dag = system.client.get("dags", "edited")
    bundle = system.client.bundle(dag["spec"]["bundle"])
    return len(dag["spec"]["tasks"]) == 2 and bundle is not None and _code(bundle).find(f'"{version}"') > 0


def _code(bundle: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return archive.read("work.py").decode()
