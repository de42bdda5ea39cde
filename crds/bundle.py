"""Code bundles: a DAG's folder as a zip named by its sha256, the same for the same files everywhere."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 10 * 2**20
MAX_FILES = 2_000
MAX_DEPTH = 16
MAX_NAME = 512
# What file systems allow between two slashes.
MAX_PART = 255
# The most that headers and the directory of a stored zip add to its files.
_MAX_ARCHIVE = MAX_BYTES + MAX_FILES * (2 * MAX_NAME + 256)

# Resources are stored in Postgres: a comment in YAML makes no new bundle.
RESOURCE_FILES = frozenset({"dag.yaml", "datasets.yaml", "pools.yaml"})
_SKIPPED_FOLDERS = frozenset({"__pycache__"})
_SKIPPED_ENDINGS = (".pyc", ".pyo", "~", ".swp")
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_FILE_MODE = stat.S_IFREG | 0o644


class BundleError(ValueError):
    """A folder that cannot be bundled, or a bundle that cannot be trusted; the text says why."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A zip, its sha256, and the names of its files."""

    digest: str
    data: bytes
    files: tuple[str, ...]


def build(folder: Path) -> Bundle:
    """Return the bundle of a DAG's folder: all but hidden files, caches and resources; raise BundleError."""
    files = _collect(folder)
    archive = io.BytesIO()
    # Stored, not compressed: zlib builds differ in their output, and the digest must not.
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle:
        total = 0
        for name, path in files:
            content = _read(path, name, MAX_BYTES - total)
            total += len(content)
            bundle.writestr(_entry(name), content)
    data = archive.getvalue()
    return Bundle(hashlib.sha256(data).hexdigest(), data, tuple(name for name, _ in files))


def check(data: bytes) -> None:
    """Raise BundleError for bytes that no worker would unpack."""
    with _opened(data) as bundle:
        for entry in bundle.infolist():
            _content(bundle, entry)


def extract(data: bytes, digest: str, into: Path) -> Path:
    """Unpack a bundle as the folder `into`/`digest` and return it; raise BundleError if it cannot be trusted.

    The folder appears complete or not at all, so many processes may extract the same bundle at once.
    """
    target = into / digest
    if hashlib.sha256(data).hexdigest() != digest:
        raise BundleError(f"the bundle's sha256 is not {digest}; fetch it again")
    if target.is_dir():
        return target
    into.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{digest[:12]}-", dir=into))
    try:
        _unpack(data, unfinished)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target


def _collect(folder: Path) -> list[tuple[str, Path]]:
    if not folder.is_dir():
        raise BundleError(f"{folder} is no folder")
    found: list[tuple[str, Path]] = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        here = Path(parent)
        depth = len(here.relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS)
        for name in folders:
            _check_link(here / name, folder)
        if depth >= MAX_DEPTH and folders:
            raise BundleError(f"{here} is deeper than {MAX_DEPTH} folders")
        for name in names:
            if name.startswith(".") or name.endswith(_SKIPPED_ENDINGS) or name in RESOURCE_FILES:
                continue
            path = here / name
            _check_link(path, folder)
            found.append((_portable(path.relative_to(folder)), path))
        if len(found) > MAX_FILES:
            raise BundleError(f"{folder} has more than {MAX_FILES} files; keep data in datasets, not beside the code")
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise BundleError(f"{error.filename} cannot be read: {error.strerror}")


def _check_link(path: Path, folder: Path) -> None:
    if path.is_symlink():
        raise BundleError(f"{path.relative_to(folder)} is a symbolic link; put the file itself into the folder")


def _portable(path: Path) -> str:
    name = path.as_posix()
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise BundleError(f"{name!r} is no UTF-8 name; rename the file") from None
    if length > MAX_NAME or "\\" in name or ":" in name:
        raise BundleError(f"{name!r} is no portable name: at most {MAX_NAME} bytes, without backslash and colon")
    return name


def _read(path: Path, name: str, limit: int) -> bytes:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BundleError(f"{name} is no regular file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise BundleError(f"{name} cannot be read: {error.strerror}") from error
    if len(content) > limit:
        raise BundleError(
            f"the folder has more than {MAX_BYTES // 2**20} MiB; keep data in datasets, not beside the code"
        )
    return content


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _TIMESTAMP)
    entry.create_system = _UNIX
    entry.external_attr = _FILE_MODE << 16
    return entry


def _unpack(data: bytes, folder: Path) -> None:
    with _opened(data) as bundle:
        for entry in bundle.infolist():
            _write(folder / PurePosixPath(entry.filename), _content(bundle, entry))


@contextmanager
def _opened(data: bytes) -> Iterator[zipfile.ZipFile]:
    """Open a bundle whose directory can be trusted; raise BundleError, also for what is damaged inside."""
    if len(data) > _MAX_ARCHIVE:
        raise BundleError(f"the bundle has {len(data)} bytes, more than any folder gives")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            _check_entries(bundle.infolist())
            yield bundle
    except BundleError:
        raise
    # zipfile lets many kinds of errors out on damaged input, a NotImplementedError among them.
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, ValueError, EOFError) as error:
        raise BundleError(f"the bundle cannot be unpacked: {error}") from error


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MAX_FILES:
        raise BundleError(f"the bundle has more than {MAX_FILES} files")
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise BundleError(f"the bundle unpacks to more than {MAX_BYTES // 2**20} MiB")
    names = {entry.filename for entry in entries}
    if len(names) != len(entries):
        raise BundleError("the bundle names a file twice")
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    if both := sorted(names & folders):
        raise BundleError(f"{both[0]!r} in the bundle is a file and a folder")
    for entry in entries:
        # Zips made elsewhere may name no type.
        type_ = stat.S_IFMT(entry.external_attr >> 16)
        if entry.is_dir() or type_ not in {0, stat.S_IFREG}:
            raise BundleError(f"{entry.filename!r} in the bundle is no regular file")
        _check_name(entry.filename)


def _check_name(name: str) -> None:
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts) or any(mark in name for mark in "\\:\0"):
        raise BundleError(f"{name!r} in the bundle leads out of its folder")
    if len(parts) > MAX_DEPTH + 1 or len(name.encode()) > MAX_NAME or any(len(p.encode()) > MAX_PART for p in parts):
        raise BundleError(f"{name!r} in the bundle is too deep or too long")


def _content(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with bundle.open(entry) as source:
        # The directory's size was checked; a member that holds more is a bomb.
        content = source.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise BundleError(f"{entry.filename!r} in the bundle has another size than it says")
    return content


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
