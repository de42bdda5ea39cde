"""Which files of a folder hold resources, and their text.

In every folder below: `dag.yaml`, `datasets.yaml` and `pools.yaml`. In the folder itself also all other
`*.yaml` and `*.yml`, unless it is a DAG's folder (it has a `dag.yaml`), whose other files are the DAG's own.
Hidden folders are skipped, links that lead out of the folder are refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from crds.bundle import RESOURCE_FILES
from crds.finding import Problem

MAX_FILE_BYTES = 2**20
MAX_FILES = 2_000
MAX_DEPTH = 8
DAG_FILE = "dag.yaml"
_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """YAML text, its name for people, and the folder in which it lies."""

    name: str
    text: str
    folder: Path | None


def find_files(path: Path) -> tuple[list[SourceFile], list[Problem]]:
    """Return the files of resources at a path, in order of their names, and what could not be read."""
    problems: list[Problem] = []
    paths: list[Path] = []
    try:
        if path.is_dir():
            paths = _walk(path, problems)
        elif path.exists():
            paths = [path]
        else:
            problems.append(_problem(path, "there is no such file or folder"))
    except OSError as error:
        problems.append(_problem(path, f"cannot be read: {error.strerror}"))
    sources = [source for found in paths if (source := _read(found, problems)) is not None]
    return sources, problems


def _walk(root: Path, problems: list[Problem]) -> list[Path]:
    found: list[Path] = []

    def unreadable(error: OSError) -> None:
        problems.append(_problem(Path(str(error.filename)), f"cannot be read: {error.strerror}"))

    for parent, folders, names in os.walk(root, onerror=unreadable):
        here = Path(parent)
        folders[:] = sorted(_open_folders(here, folders, root, problems))
        any_name = here == root and DAG_FILE not in names
        for name in sorted(names):
            wanted = name in RESOURCE_FILES or (any_name and name.endswith(_ENDINGS) and not name.startswith("."))
            if wanted and _inside(here / name, root, problems):
                found.append(here / name)
        if len(found) > MAX_FILES:
            problems.append(_problem(root, f"has more than {MAX_FILES} files of resources; apply it in parts"))
            return found[:MAX_FILES]
    return found


def _open_folders(here: Path, folders: list[str], root: Path, problems: list[Problem]) -> list[str]:
    kept = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
    if kept and len(here.relative_to(root).parts) >= MAX_DEPTH:
        problems.append(_problem(here, f"has folders deeper than {MAX_DEPTH}; they are not read"))
        return []
    return [name for name in kept if _inside(here / name, root, problems)]


def _inside(path: Path, root: Path, problems: list[Problem]) -> bool:
    if not path.is_symlink():
        return True
    try:
        inside = path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        inside = False
    if not inside:
        problems.append(_problem(path, f"is a link that leads out of {root}"))
    elif path.is_dir():
        problems.append(_problem(path, "is a link to a folder, which is not followed; give the folder itself"))
        return False
    return inside


def _read(path: Path, problems: list[Problem]) -> SourceFile | None:
    try:
        if not path.is_file():
            problems.append(_problem(path, "is no regular file"))
            return None
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        problems.append(_problem(path, f"cannot be read: {error.strerror}"))
        return None
    return decoded(str(path), data, path.parent, problems)


def decoded(name: str, data: bytes, folder: Path | None, problems: list[Problem]) -> SourceFile | None:
    """Return a file's bytes as YAML text, or None if they are too many or no text; `problems` then says so."""
    if len(data) > MAX_FILE_BYTES:
        problems.append(Problem(name, 1, None, "", f"has more than {MAX_FILE_BYTES // 2**20} MiB; split it"))
        return None
    try:
        return SourceFile(name, data.decode(), folder)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.append(Problem(name, line, None, "", f"is not UTF-8: byte 0x{data[error.start]:02x}"))
        return None


def _problem(path: Path, message: str) -> Problem:
    return Problem(str(path), 1, None, "", message)
