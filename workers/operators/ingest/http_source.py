"""Rows from an http(s) address: one file or many pages, and nothing at all if nothing changed."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from crds.dag import FileFormat, HttpSource
from workers.data.frames import row_batches
from workers.operators.ingest.fetch import Download, Fetcher
from workers.operators.ingest.parse import load_json, parse, pick, records
from workers.operators.ingest.template import fill
from workers.task import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.operators.work import Work

_LINK = re.compile(r"<([^>]*)>([^<]*)")
_NEXT = re.compile(r";\s*rel\s*=\s*\"?[^\";]*\bnext\b", re.IGNORECASE)


def read(work: Work, source: HttpSource, alias: str) -> None:
    """Download every page and write its rows; on 304 write nothing and output `unchanged`."""
    url = fill(source.url, work.context)
    headers = {name: fill(value, work.context) for name, value in source.headers.items()}
    identity = _identity(url, work.outputs.ref(alias).uid)
    validators = _validators(work.context.bookmark, identity) if source.conditional else {}
    fetcher = Fetcher(work.grant.attempt)
    try:
        pages = _Pages(work, source, alias, fetcher)
        first = pages.read(_first(url, source), headers, validators)
    finally:
        fetcher.close()
    if first.path is None:
        work.context.outputs["unchanged"] = True
        return
    if source.conditional:
        work.context.bookmark = {"source": identity} | _bookmark(first.headers)


class _Pages:
    """The pages of one source, written one after the other."""

    def __init__(self, work: Work, source: HttpSource, alias: str, fetcher: Fetcher) -> None:
        self._work = work
        self._source = source
        self._alias = alias
        self._fetcher = fetcher
        self._columns = work.outputs.columns(alias)
        self._dataset = work.outputs.ref(alias).name
        self._path = work.services.workdir / "download"

    def read(self, url: str, headers: Mapping[str, str], validators: Mapping[str, str]) -> Download:
        """Follow the pages from the first and return the first's answer."""
        first = self._fetcher.get(url, {**headers, **validators}, self._path)
        page, number, seen = first, 1, {url}
        limit = self._source.paging.max_pages if self._source.paging else 1
        while page.path is not None:
            rows, following = self._write(page, number)
            if following is None or (not rows and self._counts()):
                return first
            number += 1
            if number > limit:
                raise TaskFailed("TooManyPages", f"the source has more than {limit} pages; raise paging.maxPages")
            if following in seen:
                raise TaskFailed("PagingLoop", f"page {number} of the source is one of the pages before it")
            seen.add(following)
            # What was meant for the first host stays with it.
            kept = headers if urlsplit(following).netloc == urlsplit(url).netloc else {}
            page = self._fetcher.get(following, kept, self._path)
        return first

    def _write(self, page: Download, number: int) -> tuple[int, str | None]:
        """Write one page's rows; return how many there were and the address of the next page."""
        source, path = self._source, page.path
        if path is None:
            return 0, None
        if source.format is FileFormat.JSON:
            document = load_json(path)
            frames = row_batches(records(document, source.records_field), self._columns, self._dataset)
        else:
            document = None
            frames = parse(path, source.format, source.csv, self._columns, self._dataset)
        rows = self._work.outputs.append(self._alias, frames, extra=True)
        self._work.services.progress(self._work.outputs.rows[self._alias], f"page {number}")
        return rows, self._next(page, document, number)

    def _next(self, page: Download, document: Any, number: int) -> str | None:
        paging = self._source.paging
        if paging is None:
            return None
        if paging.link_header:
            return _link(page)
        if paging.next_field is not None:
            found = pick(document, paging.next_field)
            return urljoin(page.url, found) if isinstance(found, str) and found else None
        return _numbered(page.url, paging.page_param or "", paging.first_page + number)

    def _counts(self) -> bool:
        return self._source.paging is not None and self._source.paging.page_param is not None


def _first(url: str, source: HttpSource) -> str:
    if source.paging is None or source.paging.page_param is None:
        return url
    return _numbered(url, source.paging.page_param, source.paging.first_page)


def _numbered(url: str, param: str, number: int) -> str:
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key != param]
    return urlunsplit(parts._replace(query=urlencode([*query, (param, str(number))])))


def _link(page: Download) -> str | None:
    """Return the target of the Link header's `rel=next` (RFC 8288)."""
    for link in _LINK.finditer(page.headers.get("Link", "")):
        if _NEXT.search(link[2]):
            return urljoin(page.url, str(link[1]))
    return None


def _identity(url: str, dataset_uid: str) -> str:
    """Return what a bookmark belongs to: another address or a re-created dataset starts afresh."""
    return hashlib.sha256(f"{url} {dataset_uid}".encode()).hexdigest()[:16]


def _validators(bookmark: Any, identity: str) -> dict[str, str]:
    if not isinstance(bookmark, dict) or bookmark.get("source") != identity:
        return {}
    names = {"etag": "If-None-Match", "lastModified": "If-Modified-Since"}
    return {header: str(bookmark[name]) for name, header in names.items() if bookmark.get(name)}


def _bookmark(headers: Mapping[str, str]) -> dict[str, str]:
    found = {"etag": headers.get("ETag"), "lastModified": headers.get("Last-Modified")}
    return {name: value for name, value in found.items() if value}
