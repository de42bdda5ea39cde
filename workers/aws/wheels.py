"""The wheels that the operator host needs on Lambda, in the versions of requirements.lock."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# Lambda's runtime: Python 3.13 on Amazon Linux 2023, whose glibc is 2.34.
PYTHON = "313"
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64")
# What a child of a worker imports before the first task. The runtime itself brings boto3 and botocore.
NEEDED = (
    "annotated-types",
    "cronsim",
    "msgspec",
    "obstore",
    "polars",
    "polars-runtime-32",
    "prometheus-client",
    "psutil",
    "psycopg",
    "psycopg-binary",
    "pydantic",
    "pydantic-core",
    "pydantic-settings",
    "python-dotenv",
    "structlog",
    "typing-extensions",
    "typing-inspection",
    "tzdata",
    "urllib3",
)
MAX_REASON_CHARS = 500
DOWNLOAD_SECONDS = 900.0


class WheelsError(Exception):
    """Wheels that cannot be had; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A package at one version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def pins(lock: str) -> list[Pin]:
    """Return what is needed, pinned as a lock file says; raise WheelsError for a package that it lacks."""
    found = {}
    for line in lock.splitlines():
        name, separator, rest = line.partition("==")
        if separator:
            found[_normal(name)] = rest.partition(";")[0].strip()
    if missing := [name for name in NEEDED if name not in found]:
        raise WheelsError(f"requirements.lock has no {', '.join(missing)}; renew it by make lock")
    return [Pin(name, found[name]) for name in NEEDED]


def fetch(wanted: Sequence[Pin], folder: Path) -> list[Path]:
    """Return the wheels in the order wanted, downloading into the folder those that it lacks; raise WheelsError."""
    folder.mkdir(parents=True, exist_ok=True)
    if missing := [pin for pin in wanted if _held(pin, folder) is None]:
        _download(missing, folder)
    wheels = [(pin, _held(pin, folder)) for pin in wanted]
    if absent := [str(pin) for pin, wheel in wheels if wheel is None]:
        raise WheelsError(f"no wheel for Python {PYTHON} on {PLATFORMS[0]}: {', '.join(absent)}")
    return [wheel for _, wheel in wheels if wheel is not None]


def _download(missing: Iterable[Pin], folder: Path) -> None:
    names = [str(pin) for pin in missing]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}", f"--dest={folder}"]
    command += [f"--platform={platform}" for platform in PLATFORMS]
    done = subprocess.run(
        [*command, *names],
        capture_output=True,
        text=True,
        check=False,
        timeout=DOWNLOAD_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr]
        raise WheelsError(
            f"pip could not download {', '.join(names)}: {said[0][:MAX_REASON_CHARS]}. Without a network, "
            f"put the wheels into {folder}, or name an index that is reached by PIP_INDEX_URL"
        )


def _held(pin: Pin, folder: Path) -> Path | None:
    """Return the wheel of a pin in the folder; its name is distribution-version-python-abi-platform.whl."""
    for path in sorted(folder.glob("*.whl")):
        name, version, *tags = path.stem.split("-")
        if _normal(name) == pin.name and version == pin.version and _runs(tags):
            return path
    return None


def _runs(tags: list[str]) -> bool:
    if len(tags) < 3:
        return False
    platforms = tags[-1].split(".")
    return "any" in platforms or any(platform.endswith("x86_64") and "linux" in platform for platform in platforms)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
