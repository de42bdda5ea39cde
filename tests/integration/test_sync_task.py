"""The deployment's task that applies a folder straight on Postgres, by the code that serves `apply`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import obstore
import psycopg
import pytest
from obstore.store import from_url

from controller.api.errors import RefusedError
from controller.cli.files import InvalidFilesError
from controller.deploy import dag_set, sync_task
from controller.deploy.sync_task import BadSetError
from controller.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Database

POOLS = "kind: WorkerPool\nmetadata: {name: python}\nspec: {runtime: python}\n"
DAG = """\
kind: Dag
metadata: {name: hello}
spec:
  tasks: [{name: greet, runtime: python, with: {entrypoint: "hello:greet"}}]
"""


class Deployed:
    """A folder of resources, an object store and a database."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.dags = folder / "dags"
        (self.dags / "hello").mkdir(parents=True)
        (self.dags / "pools.yaml").write_text(POOLS)
        (self.dags / "hello" / "dag.yaml").write_text(DAG)
        (self.dags / "hello" / "hello.py").write_text("def greet():\n    print('hello')\n")
        (folder / "objects").mkdir()
        self.url = (folder / "objects").as_uri()
        self.objects: Any = from_url(self.url)
        self.database = database

    def sync(self, key: str) -> list[str]:
        said: list[str] = []
        sync_task.run(Settings(dsn=self.database.conninfo, object_store=self.url), key, said.append)
        return said

    def deploy(self) -> list[str]:
        wanted = dag_set.read(self.dags)
        dag_set.store(self.objects, wanted)
        return self.sync(wanted.key)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.database.connect() as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]


@pytest.fixture
def deployed(tmp_path: Path, database: Database) -> Deployed:
    return Deployed(tmp_path, database)


def test_a_folder_is_applied_and_the_leader_told(deployed: Deployed) -> None:
    with psycopg.connect(deployed.database.conninfo, autocommit=True) as listener:
        listener.execute("LISTEN setpoint")
        assert deployed.deploy() == ["workerpool/python created (generation 1)", "dag/hello created (generation 1)"]
        (notice,) = listener.notifies(timeout=10, stop_after=1)
    ((uid, spec),) = deployed.rows("SELECT uid, spec FROM resource WHERE kind = 'Dag'")
    assert f"dag:{uid}" in notice.payload
    assert obstore.head(deployed.objects, f"bundles/{spec['bundle']}.zip")["size"]


def test_the_same_folder_again_changes_nothing(deployed: Deployed) -> None:
    deployed.deploy()
    before = deployed.rows("SELECT * FROM resource ORDER BY uid")
    assert dag_set.store(deployed.objects, dag_set.read(deployed.dags)) == 0
    assert all("unchanged" in line for line in deployed.deploy())
    assert deployed.rows("SELECT * FROM resource ORDER BY uid") == before


def test_an_earlier_set_brings_the_dag_back_as_a_new_generation(deployed: Deployed) -> None:
    first = dag_set.read(deployed.dags)
    deployed.deploy()
    (deployed.dags / "hello" / "dag.yaml").write_text(DAG.replace("greet,", "greet, priority: 7,"))
    deployed.deploy()
    assert "dag/hello configured (generation 3)" in deployed.sync(first.key)
    ((spec,),) = deployed.rows("SELECT spec FROM resource WHERE kind = 'Dag'")
    assert "priority" not in spec["tasks"][0]


def test_bad_files_are_found_before_anything_is_stored(deployed: Deployed) -> None:
    (deployed.dags / "hello" / "dag.yaml").write_text(DAG.replace("python", "pyton"))
    with pytest.raises(InvalidFilesError) as failure:
        dag_set.read(deployed.dags)
    assert 'did you mean "python"?' in str(failure.value.problems)


def test_what_the_database_refuses_changes_nothing(deployed: Deployed) -> None:
    (deployed.dags / "pools.yaml").write_text(POOLS.replace("name: python", "name: other"))
    with pytest.raises(RefusedError) as failure:
        deployed.deploy()
    assert 'there is no pool "python"' in str(failure.value.problems)
    assert not deployed.rows("SELECT * FROM resource")


def test_code_that_is_not_stored_is_missed(deployed: Deployed) -> None:
    wanted = dag_set.read(deployed.dags)
    obstore.put(deployed.objects, wanted.key, wanted.data)
    with pytest.raises(RefusedError, match="bundles are missing"):
        deployed.sync(wanted.key)


def test_a_file_under_a_strangers_name_is_refused(deployed: Deployed) -> None:
    key = f"deployments/dags/{'0' * 64}.json"
    obstore.put(deployed.objects, key, b'{"resources": []}')
    with pytest.raises(BadSetError, match="not the file that its name says"):
        deployed.sync(key)
