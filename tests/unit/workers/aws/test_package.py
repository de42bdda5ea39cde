"""The zips of the functions: the same bytes twice, complete, and without what Lambda would refuse."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from workers.aws import package
from workers.aws.wheels import NEEDED, Pin, WheelsError, fetch, pins

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "".join(f"{name.replace('-', '_')}==1.0; sys_platform != 'win32'\n" for name in NEEDED)


def wheel(folder: Path, name: str, files: dict[str, str], tags: str = "py3-none-any") -> Path:
    path = folder / f"{name.replace('-', '_')}-1.0-{tags}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in {
            **files,
            f"{name}-1.0.dist-info/RECORD": "",
            f"{name}-1.0.dist-info/METADATA": "",
        }.items():
            archive.writestr(file, content)
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in NEEDED:
        wheel(
            folder,
            name,
            {f"{name}/__init__.py": "", f"{name}-1.0.data/purelib/{name}_data.py": "", f"{name}/x.pyi": ""},
        )
    return folder


def write(tmp_path: Path, wheels: Path, out: str = "out") -> list[str]:
    said: list[str] = []
    lock = tmp_path / "requirements.lock"
    lock.write_text(LOCK)
    package.write(tmp_path / out, lock, wheels, said.append)
    return said


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_same_bytes_twice(tmp_path: Path, wheels: Path) -> None:
    said = write(tmp_path, wheels, "one"), write(tmp_path, wheels, "two")
    for name in ("sources.zip", "operator.zip"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert len(said[0]) == 3
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["operator.zip", "sources.zip"]


def test_the_operator_has_our_code_and_what_wheels_install(tmp_path: Path, wheels: Path) -> None:
    write(tmp_path, wheels)
    found = names(tmp_path / "out/operator.zip")
    assert {"workers/aws/operator.py", "workers/child.py", "crds/protocol.py", "polars/__init__.py"} <= set(found)
    assert {"polars_data.py", "polars-1.0.dist-info/METADATA"} <= set(found)
    assert not [name for name in found if name.endswith((".pyc", ".pyi", "RECORD")) or ".data/" in name]
    assert not [name for name in found if name.startswith("controller")]


def test_the_sources_are_complete_and_need_the_runtime_alone(tmp_path: Path, wheels: Path) -> None:
    write(tmp_path, wheels)
    script = """
import sys
sys.path.insert(0, sys.argv[1])
import workers.aws.cron, workers.aws.ecs_state, workers.aws.webhook
ours = [m for n, m in sys.modules.items() if n.partition(".")[0] in {"workers", "crds"}]
assert all(m.__file__.startswith(sys.argv[1]) for m in ours), ours
print(*sorted({"pydantic", "msgspec", "structlog", "psycopg", "polars"} & set(sys.modules)))
"""
    command = [sys.executable, "-I", "-c", script, str(tmp_path / "out/sources.zip")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_two_wheels_with_the_same_file_are_an_error(tmp_path: Path, wheels: Path) -> None:
    wheel(wheels, "polars", {"psycopg/__init__.py": ""})
    with pytest.raises(package.PackageError, match=r"psycopg/__init__\.py"):
        write(tmp_path, wheels)
    assert not (tmp_path / "out/operator.zip").exists()


def test_more_than_lambda_takes_is_an_error(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "MAX_UNZIPPED_BYTES", 1_000_000)
    wheel(wheels, "polars", {"polars/large.so": "x" * 1_000_000})
    with pytest.raises(package.PackageError, match="unzips to"):
        write(tmp_path, wheels)


def test_a_lock_that_lacks_a_package_names_it() -> None:
    with pytest.raises(WheelsError, match="polars-runtime-32"):
        pins(LOCK.replace("polars_runtime_32", "other"))


def test_without_an_index_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    # Of another platform, so it does not count as had.
    wheel(tmp_path, "structlog", {}, tags="cp313-cp313-macosx_11_0_arm64")
    with pytest.raises(WheelsError, match="PIP_INDEX_URL"):
        fetch([Pin("structlog", "1.0")], tmp_path)
