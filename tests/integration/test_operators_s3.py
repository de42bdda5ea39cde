"""Cold datasets, artifacts and file sources on a real S3 API, addressed as in production."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import boto3
import polars as pl
import pytest

from crds.names import AttemptId
from crds.protocol import ColdFile, DatasetRef, Grant, TaskInput
from workers import operators
from workers.objects import open_store
from workers.task import Services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.task import Result

STARTUP_SECONDS = 30
STOP_SECONDS = 10
BUCKET = "example-data"
ROOT = f"s3://{BUCKET}/a prefix"
SPEC = {
    "tier": "cold",
    "columns": [{"name": "k", "type": "int64"}, {"name": "part", "type": "string"}],
    "partitionBy": ["part"],
}
ROWS = [{"k": 1, "part": "a/b=c %"}, {"k": 2, "part": "é"}, {"k": 3, "part": None}]


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run ministack on a free port and point every client at it, as local mode does."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = shutil.which("ministack", path=path)
    if command is None:
        pytest.skip("ministack is not installed: see tests/contract/README.md")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = os.environ | {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([command], stdout=log, stderr=log, env=environment, cwd=tmp_path) as process,
    ):
        try:
            _await_port(port)
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
            monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            client = boto3.client("s3")
            client.create_bucket(Bucket=BUCKET)
            yield client
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def run(
    folder: Path, task: dict[str, Any], inputs: dict[str, TaskInput] | None = None, out: DatasetRef | None = None
) -> Result:
    folder.mkdir()
    services = Services(
        objects=open_store(ROOT),
        objects_url=ROOT,
        hot=None,
        secrets={}.__getitem__,
        bundle=None,
        workdir=folder,
        progress=lambda _rows, _message: None,
    )
    grant = Grant(
        attempt=AttemptId("run/work/0/1"),
        token="token",
        task={"name": "work", **task},
        dag="example",
        run="example-1",
        namespace="default",
        number=1,
        timeout_seconds=60.0,
        inputs=inputs or {},
        outputs={"out": out or DatasetRef(name="archive", uid="ds", spec=SPEC, mode="append")},
    )
    return operators.run(grant, services)


def test_what_is_written_to_s3_is_read_from_s3(s3: Any, tmp_path: Path) -> None:
    pl.DataFrame(ROWS).write_parquet(tmp_path / "rows.parquet")
    s3.upload_file(str(tmp_path / "rows.parquet"), BUCKET, "landing/2013/rows.parquet")
    source = {"files": {"path": f"s3://{BUCKET}/landing/*/*.parquet", "format": "parquet"}}
    first = run(tmp_path / "1", {"runtime": "ingest", "with": source})
    assert first.outputs == {"files": 1, "rows": 3}
    [written] = first.writes
    listed = {item["Key"]: item["Size"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert {f"a prefix/{file.key}": file.bytes for file in written.files}.items() <= listed.items()

    files = [ColdFile(file.key, file.partition, file.rows, file.bytes) for file in written.files]
    archive = TaskInput(dataset=DatasetRef(name="archive", uid="ds", spec=SPEC, files=files))
    unpartitioned = DatasetRef(name="copy", uid="ds2", spec={**SPEC, "partitionBy": []}, mode="replace")
    copy = {"runtime": "polars", "with": {"sql": "SELECT * FROM archive ORDER BY k"}}
    second = run(tmp_path / "2", copy, {"archive": archive}, unpartitioned)
    [file] = second.writes[0].files
    body = s3.get_object(Bucket=BUCKET, Key=f"a prefix/{file.key}")["Body"].read()
    assert pl.read_parquet(body).to_dicts() == ROWS


def _await_port(port: int) -> None:
    deadline = monotonic() + STARTUP_SECONDS
    while monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")
