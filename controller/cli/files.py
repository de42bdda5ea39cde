"""What `apply` and `diff` read: resources from files, and the bundles of their code."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from controller.cli.errors import CliError, Exit
from crds.bundle import Bundle, BundleError, build
from crds.finding import Finding
from crds.kinds import APPLIED
from crds.loader import LoadedResource, load_path, load_stream
from crds.meta import API_VERSION, Resource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.cli.client import Client, RefusedError

STDIN = "-"

_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Source:
    """Resources that are valid as far as can be told here, as the server takes them, and their code."""

    loaded: tuple[LoadedResource, ...]
    documents: tuple[dict[str, Any], ...]
    bundles: Mapping[str, Bundle] = field(default_factory=dict)

    def problems(self, refused: RefusedError) -> list[str]:
        """Return the server's problems with the files and lines that they are about."""
        return [self._place(problem) for problem in refused.details] or [str(refused)]

    def _place(self, problem: Mapping[str, Any]) -> str:
        position, field_text = problem.get("resource"), str(problem.get("field", ""))
        finding = Finding(_path(field_text), problem["message"], problem.get("suggestion"))
        if not isinstance(position, int) or position >= len(self.loaded):
            return str(finding)
        return str(self.loaded[position].problem(finding))


class InvalidFilesError(CliError):
    """Files that cannot be applied, with every problem."""

    def __init__(self, problems: Sequence[str], code: Exit = Exit.NEGATIVE) -> None:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        super().__init__(f"{count}; nothing was changed", code, tuple(problems))


def read(client: Client, paths: Sequence[str]) -> Source:
    """Read all files; raise InvalidFilesError with every problem of every file."""
    return load(paths, known_resources(client))


def load(paths: Sequence[str], known: Sequence[Resource] | None) -> Source:
    """Read all files beside the pools and datasets that exist, None if those cannot be told; raise InvalidFilesError."""
    loaded: list[LoadedResource] = []
    problems: list[str] = []
    for path in paths:
        # With several paths a name may stand in another one: the server, who sees all, checks it.
        seen = known if len(paths) == 1 else None
        found = load_stream(sys.stdin.buffer, known=seen) if path == STDIN else load_path(Path(path), seen)
        loaded += found.resources
        problems += [str(problem) for problem in found.problems]
    if problems:
        raise InvalidFilesError(problems)
    if not loaded:
        raise CliError(f"there is no resource in {', '.join(paths)}", Exit.USAGE)
    return _bundled(loaded)


def known_resources(client: Client) -> list[Resource]:
    """Return the pools and datasets that the server has."""
    found: list[Resource] = []
    for kind in (APPLIED["WorkerPool"], APPLIED["Dataset"]):
        for item in client.items(kind.plural):
            try:
                document = {key: item[key] for key in ("kind", "metadata", "spec")}
                found.append(kind.model.model_validate(document, extra="ignore"))
            except ValidationError as error:
                name = item["metadata"]["name"]
                raise CliError(f"{kind.name} {name!r} of the server is newer than this command: {error}") from error
    return found


def _bundled(loaded: Sequence[LoadedResource]) -> Source:
    documents: list[dict[str, Any]] = []
    bundles: dict[str, Bundle] = {}
    problems: list[str] = []
    for entry in loaded:
        document = _document(entry.resource)
        if entry.folder is not None:
            try:
                bundle = build(entry.folder)
            except BundleError as error:
                problems.append(str(entry.problem(Finding(("spec",), str(error)))))
                continue
            bundles[bundle.digest] = bundle
            document["spec"]["bundle"] = bundle.digest
        documents.append(document)
    if problems:
        raise InvalidFilesError(problems)
    return Source(tuple(loaded), tuple(documents), bundles)


def _document(resource: Resource) -> dict[str, Any]:
    """Return what the file says, and no more: the server tells a default from a word of the author."""
    said: dict[str, Any] = resource.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {"apiVersion": API_VERSION} | said


def _path(text: str) -> tuple[str | int, ...]:
    return tuple(int(index) if index else name for name, index in _PART.findall(text))
