"""Resources from YAML files: everything that is wrong with them at once, each with its file and line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crds.check import check
from crds.dag import Dag
from crds.files import check_files, named_files
from crds.finding import Finding, Problem
from crds.folder import MAX_FILE_BYTES, SourceFile, decoded, find_files
from crds.parse import parse
from crds.positions import Node, read_yaml
from crds.salvage import Salvage, reference_in, salvage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from crds.meta import Resource
    from crds.surroundings import Reference

MAX_PROBLEMS = 500


@dataclass(frozen=True, slots=True)
class LoadedResource:
    """A resource, the file it comes from, and where its fields stand there.

    `folder` holds the code of a Dag that names files; None for all else.
    """

    resource: Resource
    file: str
    lines: Node
    folder: Path | None = None

    def problem(self, finding: Finding) -> Problem:
        """Return a finding about this resource with its place."""
        return _problem(self.file, self.lines, finding)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The resources that could be read, and all problems; with a problem, nothing should be applied."""

    resources: tuple[LoadedResource, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A document of a file: a resource, or what could be saved of one."""

    source: SourceFile
    node: Node
    resource: Resource | None
    findings: tuple[Finding, ...]
    saved: Salvage | None = None
    unread: Reference | None = None

    @property
    def checkable(self) -> Resource | None:
        return self.resource or (self.saved.dag if self.saved else None)


def load_path(path: Path, known: Iterable[Resource] | None = None) -> Loaded:
    """Read a file, or a folder's YAML files; crds.folder says which. Never raise for what is in them.

    `known` are the pools and datasets that the server has; None leaves names that no file has unchecked.
    """
    sources, problems = find_files(path)
    return _load(sources, problems, known)


def load_text(text: str, file: str = "<stdin>", known: Iterable[Resource] | None = None) -> Loaded:
    """Read YAML text that has no folder, so files that a Dag names are not checked."""
    return _load([SourceFile(file, text, None)], [], known)


def load_stream(stream: BinaryIO, file: str = "<stdin>", known: Iterable[Resource] | None = None) -> Loaded:
    """Read YAML from a stream of bytes, no more of it than a file may have."""
    problems: list[Problem] = []
    source = decoded(file, stream.read(MAX_FILE_BYTES + 1), None, problems)
    return _load([source] if source else [], problems, known)


def _load(sources: Iterable[SourceFile], problems: list[Problem], known: Iterable[Resource] | None) -> Loaded:
    entries: list[_Entry] = []
    for source in sources:
        text = read_yaml(source.text)
        problems += [Problem(source.name, at.line, at.column, "", message) for at, message in text.problems]
        entries += [_entry(source, node) for node in text.documents if node.value is not None]
    problems += [_problem(entry.source.name, entry.node, finding) for entry in entries for finding in entry.findings]
    problems += _check_together(entries, known)
    problems += _check_folders(entries)
    resources = tuple(
        LoadedResource(entry.resource, entry.source.name, entry.node, _code_folder(entry))
        for entry in entries
        if entry.resource is not None
    )
    return Loaded(resources, _in_order(problems))


def _entry(source: SourceFile, node: Node) -> _Entry:
    document = node.plain()
    parsed = parse(document)
    if parsed.resource is not None or not isinstance(document, dict):
        return _Entry(source, node, parsed.resource, parsed.findings)
    unread = reference_in(document)
    saved = salvage(document, parsed.findings) if unread.kind == Dag.__name__ else None
    return _Entry(source, node, None, parsed.findings, saved, unread)


def _check_together(entries: Sequence[_Entry], known: Iterable[Resource] | None) -> list[Problem]:
    checked = [(entry, resource) for entry in entries if (resource := entry.checkable) is not None]
    unread = {entry.unread for entry in entries if entry.unread is not None}
    found: list[Problem] = []
    for position, finding in check([resource for _, resource in checked], known, unread):
        entry = checked[position][0]
        if entry.saved is None or entry.saved.concerns_author(finding):
            found.append(_problem(entry.source.name, entry.node, finding))
    return found


def _check_folders(entries: Sequence[_Entry]) -> list[Problem]:
    found: list[Problem] = []
    for entry in entries:
        dag, folder = entry.checkable, entry.source.folder
        if not isinstance(dag, Dag) or folder is None:
            continue
        found += [
            _problem(entry.source.name, entry.node, finding)
            for finding in check_files(dag, folder)
            if entry.saved is None or entry.saved.concerns_author(finding)
        ]
    return found


def _code_folder(entry: _Entry) -> Path | None:
    needs_code = isinstance(entry.resource, Dag) and named_files(entry.resource)
    return entry.source.folder if needs_code else None


def _problem(file: str, node: Node, finding: Finding) -> Problem:
    mark = node.find(finding.path)
    return Problem(file, mark.line, mark.column, finding.field, finding.message, finding.suggestion)


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    ordered = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column or 0, problem.field))
    if len(ordered) <= MAX_PROBLEMS:
        return tuple(ordered)
    last = ordered[MAX_PROBLEMS]
    more = Problem(last.file, last.line, None, "", f"… and {len(ordered) - MAX_PROBLEMS} more problems")
    return (*ordered[:MAX_PROBLEMS], more)
