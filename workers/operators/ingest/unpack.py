"""Unpack gzip files and zip files of one member, by what they are and not by what they are called."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from typing import IO, TYPE_CHECKING

from workers.operators.ingest.fetch import MAX_BYTES
from workers.task import TaskFailed

if TYPE_CHECKING:
    from pathlib import Path

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_BLOCK = 1 << 20


def unpack(path: Path) -> Path:
    """Return the path of the plain data: the file itself, or what it holds, unpacked beside it."""
    with path.open("rb") as file:
        magic = file.read(4)
    target = path.with_name(f"{path.name}.plain")
    try:
        if magic.startswith(_GZIP):
            with gzip.open(path) as source:
                return _copy(source, target)
        if magic == _ZIP:
            with zipfile.ZipFile(path) as archive, archive.open(_member(archive)) as source:
                return _copy(source, target)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise TaskFailed("BadArchive", f"the source cannot be unpacked: {error}") from error
    return path


def _member(archive: zipfile.ZipFile) -> str:
    names = [
        info.filename
        for info in archive.infolist()
        if not info.is_dir() and not info.filename.startswith(("__MACOSX/", "."))
    ]
    if len(names) != 1:
        listed = ", ".join(names[:5]) or "none"
        raise TaskFailed("BadArchive", f"a zip file must hold exactly one file, this one holds {len(names)}: {listed}")
    return names[0]


def _copy(source: IO[bytes] | gzip.GzipFile, target: Path) -> Path:
    size = 0
    with target.open("wb") as file:
        while block := source.read(_BLOCK):
            size += file.write(block)
            if size > MAX_BYTES:
                raise TaskFailed("TooMuchData", f"the unpacked source is larger than {MAX_BYTES} bytes")
    return target
