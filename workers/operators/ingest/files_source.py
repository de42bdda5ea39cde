"""Rows from the files of a folder or an S3 prefix that a glob chooses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError

from workers.objects import open_store
from workers.operators.ingest.fetch import MAX_BYTES
from workers.operators.ingest.parse import parse
from workers.operators.ingest.template import fill
from workers.task import TaskFailed

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from crds.dag import FilesSource
    from workers.operators.work import Work

MAX_FILES = 100_000
_WILD = re.compile(r"[*?\[]")
_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]]*\]|.", re.DOTALL)
_GLOB = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def read(work: Work, source: FilesSource, alias: str) -> None:
    """Write the rows of every file that matches, in the order of their names."""
    location = fill(source.path, work.context)
    folder, pattern = _split(location)
    columns, dataset = work.outputs.columns(alias), work.outputs.ref(alias).name
    try:
        store = open_store(folder)
        keys = _matching(store, pattern)
        if not keys:
            raise TaskFailed("NoFiles", f"no file matches {location}")
        for number, key in enumerate(keys, 1):
            path = _fetch(store, key, work.services.workdir / "source")
            frames = parse(path, source.format, source.csv, columns, dataset)
            work.outputs.append(alias, frames, extra=True)
            work.services.progress(work.outputs.rows[alias], f"file {number} of {len(keys)}")
    except (BaseError, OSError) as error:
        raise TaskFailed("FilesUnreadable", f"{location}: {error}") from error
    work.context.outputs["files"] = len(keys)


def _split(location: str) -> tuple[str, str]:
    """Return the URL of the deepest folder without a wildcard, and the pattern below it."""
    parts = urlsplit(location)
    if parts.scheme not in {"file", "s3"} or (parts.scheme == "s3" and not parts.netloc):
        raise TaskFailed("BadUrl", f"{location!r} is no file:///folder/*.csv and no s3://bucket/prefix/*.csv")
    segments = location.partition("://")[2].split("/")
    fixed = next((i for i, segment in enumerate(segments) if _WILD.search(segment)), len(segments) - 1)
    folder = "/".join(segments[: max(fixed, 1)])
    if parts.scheme == "file" and not Path(folder or "/").is_dir():
        raise TaskFailed("NoFiles", f"there is no folder {folder}")
    return f"{parts.scheme}://{folder}", "/".join(segments[max(fixed, 1) :])


def _matching(store: ObjectStore, pattern: str) -> list[str]:
    chosen = re.compile(_regex(pattern))
    keys: list[str] = []
    for page in obstore.list(store):
        keys += [item["path"] for item in page if chosen.fullmatch(item["path"])]
        if len(keys) > MAX_FILES:
            raise TaskFailed("TooManyFiles", f"more than {MAX_FILES} files match {pattern}; choose fewer")
    return sorted(keys)


def _regex(pattern: str) -> str:
    """Translate a glob: `*` and `?` stay within a folder, `**` crosses folders."""
    tokens: list[str] = _TOKEN.findall(pattern)
    return "".join(_GLOB[token] if token in _GLOB else _literal(token) for token in tokens)


def _literal(token: str) -> str:
    return token.replace("[!", "[^") if len(token) > 1 else re.escape(token)


def _fetch(store: ObjectStore, key: str, path: Path) -> Path:
    answer = obstore.get(store, key)
    if answer.meta["size"] > MAX_BYTES:
        raise TaskFailed("TooMuchData", f"{key} is larger than {MAX_BYTES} bytes; split it")
    with path.open("wb") as file:
        for block in answer.stream(min_chunk_size=1 << 20):
            file.write(block)
    return path
