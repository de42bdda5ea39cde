"""The example DAG `flights`, task after task, on its real data, a real Postgres and a real HTTP server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest
import yaml
from operators_world import World

from controller.local.examples import DataNotFoundError, data_folder
from crds.protocol import ColdFile, DatasetRef
from workers import operators

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crds.protocol import DatasetWrite
    from workers.task import Result

DAG = Path(__file__).parents[2] / "dags" / "flights"
FLIGHTS = 336_776


@pytest.fixture
def source() -> Iterator[str]:
    """Serve the data as local mode does."""
    try:
        data_folder()
    except DataNotFoundError as error:
        pytest.skip(str(error))
    command = [sys.executable, "-m", "controller.local.examples", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1] + "/nycflights13"
        process.terminate()


class Flights:
    """The DAG's tasks, run one by one; cold files pass on as the controller would pass them."""

    def __init__(self, world: World, bundle: Path, source: str) -> None:
        self.world = world
        self.bundle = bundle
        self.params = {"source": source, "late": 15}
        spec = yaml.safe_load((DAG / "dag.yaml").read_text())["spec"]
        self.tasks: dict[str, dict[str, Any]] = {task["name"]: task for task in spec["tasks"]}
        for resource in yaml.safe_load_all((DAG / "datasets.yaml").read_text()):
            world.dataset(resource["metadata"]["name"], resource["spec"])

    def run(self, name: str, values: dict[str, Any] | None = None, **more: Any) -> Result:
        task = dict(self.tasks[name])
        inputs: dict[str, Any] = dict(values or {})
        for alias, entry in task.get("inputs", {}).items():
            if "dataset" in entry:
                inputs[alias] = self.world.datasets[entry["dataset"]]
        outputs = {alias: (o["dataset"], o["mode"]) for alias, o in task.pop("outputs", {}).items()}
        grant = self.world.grant(task | {"name": "work"}, inputs=inputs, outputs=outputs, params=self.params, **more)
        result = operators.run(grant, self.world.services(self.bundle))
        for write in result.writes:
            self._record(write)
        return result

    def _record(self, write: DatasetWrite) -> None:
        before = self.world.datasets[write.dataset]
        files = [ColdFile(key=f.key, partition=f.partition, rows=f.rows, bytes=f.bytes) for f in write.files]
        self.world.datasets[write.dataset] = DatasetRef(name=before.name, uid=before.uid, spec=before.spec, files=files)


@pytest.mark.slow
def test_flights(database: Any, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = shutil.copytree(DAG, tmp_path / "bundle")
    monkeypatch.syspath_prepend(str(bundle))
    for module in ("transform", "charts", "report"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    world = World(database.name, database.superuser_conninfo, database.worker_conninfo, tmp_path)
    flights = Flights(world, bundle, source)

    rows = {name: flights.run(f"ingest-{name}").outputs["rows"] for name in ("flights", "airlines", "planes")}
    assert rows == {"flights": FLIGHTS, "airlines": 16, "planes": 3_322}
    weather = flights.run("ingest-weather")
    assert flights.run("ingest-weather", bookmark=weather.bookmark).outputs == {"unchanged": True}
    flights.run("ingest-airports")
    assert world.rows("SELECT count(*), count(dep_delay), sum(distance) FROM hot.flights") == [
        (FLIGHTS, 328_521, 350_217_607)
    ]

    enriched = flights.run("enrich")
    [write] = enriched.writes
    assert [f.partition for f in write.files] == [f"month=2013-{month:02d}" for month in range(1, 13)]
    assert write.rows == sum(f.rows for f in write.files) == FLIGHTS
    flights.run("monthly-routes")
    [daily] = flights.run("daily").writes
    read = pl.read_parquet(f"{tmp_path}/objects/cold/default/daily-delays/**/*.parquet")
    assert (read.height, read["flights"].sum(), read["late"].sum()) == (daily.rows, FLIGHTS, 72_914)

    chart = flights.run("chart")
    assert chart.outputs["summary"] == {
        "flights": FLIGHTS,
        "cancelled": 8_255,
        "late": 72_914,
        "meanDelayMinutes": 12.64,
        "worstDay": "2013-03-08",
        "worstDayMinutes": 83.5,
        "bestCarrier": "US Airways Inc.",
        "bestCarrierMinutes": 3.78,
    }
    svg = tmp_path / "objects" / chart.outputs["delays.svg"]["artifact"]
    assert ET.fromstring(svg.read_text()).tag == "{http://www.w3.org/2000/svg}svg"

    values = {"enriched": enriched.outputs, "summary": None}
    upstream = {"daily": "Succeeded", "chart": "Failed"}
    report = flights.run("report", values, upstream=upstream)
    assert report.outputs["notSucceeded"] == ["chart"]
