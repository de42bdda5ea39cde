"""The images as an engine builds and runs them; skipped where none answers (`make test-docker` starts one)."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.images.engine import answers, client

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 1_500
TARGETS = ["dispatcher", "worker-polars", "worker-python", "worker-ingest"]
PROGRAMS = {"dispatcher": "controller.main", "worker": "workers"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2 * BUILD_SECONDS),
    pytest.mark.xdist_group("images"),
    pytest.mark.skipif(not answers(), reason="no Docker engine answers; make test-docker starts one"),
]


def docker(*arguments: str, check: bool = True, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    command = [client() or "docker", *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
    )
    assert not check or done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return done


def run(target: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command as on ECS: another user than root, a root that is read-only, and here without a network."""
    return docker("run", "--rm", "--read-only", "--tmpfs=/tmp", "--network=none", tag(target), *command, check=check)


def tag(target: str) -> str:
    return f"setpoint-test-{target}:{os.getpid()}"


@pytest.fixture(scope="module")
def certificates() -> Iterator[str]:
    """Some authorities in the place of RDS's, so that the build asks no one for them."""
    path = ROOT / "build/rds.pem"
    made = not path.exists()
    if made:
        path.parent.mkdir(exist_ok=True)
        ders = ssl.create_default_context().get_ca_certs(binary_form=True)[:3]
        path.write_text("".join(map(ssl.DER_cert_to_PEM_cert, ders)))
    yield "build/rds.pem"
    if made:
        path.unlink()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What pip needs of this machine's settings, given to the build and kept by no layer."""
    authority = os.environ.get("PIP_CERT")
    if not authority:
        return []
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "pip.conf").write_text("[global]\ncert = /run/secrets/ca.pem\ntimeout = 120\n")
    shutil.copy(authority, folder / "ca.pem")
    return [f"--secret=id={name},src={folder / name}" for name in ("pip.conf", "ca.pem")]


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest, certificates: str, secrets: list[str]) -> Iterator[str]:
    base = os.environ.get("TEST_BASE_IMAGE")
    arguments = [f"--build-arg=RDS_CA={certificates}", "--build-arg=VERSION=1.2.3", *secrets]
    arguments += [f"--build-arg=BASE_IMAGE={base}"] if base else []
    docker(
        *("build", "--network=host", f"--target={request.param}", f"--tag={tag(request.param)}", *arguments, str(ROOT)),
        seconds=BUILD_SECONDS,
    )
    yield request.param
    docker("rmi", "--force", tag(request.param), check=False)


def program(target: str) -> str:
    return PROGRAMS[target.partition("-")[0]]


def test_what_it_says_of_itself(target: str) -> None:
    (found,) = json.loads(docker("inspect", tag(target)).stdout)
    config: Any = found["Config"]
    assert config["User"] == "10001:10001"
    assert config["Cmd"] == ["python", "-m", program(target)]
    assert not config.get("Entrypoint")
    assert config["Healthcheck"]["Test"][:3] == ["CMD", "python", "-m"]
    assert config["Labels"]["org.opencontainers.image.version"] == "1.2.3"
    assert config["Labels"]["org.opencontainers.image.title"] == f"setpoint {target.replace('-', ' ')}"


def test_every_module_loads_and_nothing_of_the_other_side_is_there(target: str) -> None:
    ours, other = ("controller", "workers") if target == "dispatcher" else ("workers", "controller")
    script = f"""
import importlib, importlib.util, pkgutil
for package in ("crds", {ours!r}):
    root = importlib.import_module(package)
    for found in pkgutil.walk_packages(root.__path__, package + "."):
        if not found.name.endswith(("__main__", ".migrations.env")) and ".local." not in found.name:
            importlib.import_module(found.name)
assert importlib.util.find_spec({other!r}) is None
assert importlib.util.find_spec("pip") is None
"""
    run(target, "python", "-c", script)


def test_it_runs_as_nobody_who_may_write_only_below_tmp(target: str) -> None:
    script = """
import os, pathlib, ssl, shutil
assert (os.getuid(), os.getgid()) == (10001, 10001)
pathlib.Path("/tmp/it").write_text("may")
pathlib.Path.home().joinpath("home").write_text("may")
for path in ("/it", "/opt/setpoint/it", "/etc/it"):
    try:
        pathlib.Path(path).write_text("may not")
    except OSError:
        continue
    raise AssertionError(path)
assert ssl.create_default_context(cafile="/etc/ssl/certs/rds.pem").get_ca_certs()
assert not [name for name in ("cc", "gcc", "make") if shutil.which(name)]
assert not pathlib.Path("/run/secrets").exists() or not list(pathlib.Path("/run/secrets").iterdir())
"""
    run(target, "python", "-c", script)


def test_its_program_says_what_it_lacks_and_its_probe_that_nobody_answers(target: str) -> None:
    started = run(target, "python", "-m", program(target), check=False)
    assert started.returncode not in {0, 137}
    assert "SETPOINT_" in started.stderr or "Field required" in started.stderr
    probe = "controller.probe" if target == "dispatcher" else "workers.probe"
    probed = run(target, "python", "-m", probe, check=False)
    assert (probed.returncode, "does not answer" in probed.stderr) == (1, True)


def test_a_worker_can_be_checked(target: str) -> None:
    if target == "dispatcher":
        pytest.skip("it has a check of its own")
    checked = run(target, "python", "-m", "workers", "--check", check=False)
    assert checked.returncode == 1
    assert checked.stdout.startswith("FAILED  settings")
