"""The words by which people name objects: `run/NAME`, `run NAME`, `latest`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.cli.errors import CliError, Exit

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from controller.cli.client import Client

# As in crds.kinds, which takes longer to import than a command may take to start; a test holds the two together.
WORDS: dict[str, str] = {
    "dag": "dags",
    "dags": "dags",
    "dagrun": "dagruns",
    "dagruns": "dagruns",
    "run": "dagruns",
    "runs": "dagruns",
    "taskrun": "taskruns",
    "taskruns": "taskruns",
    "tr": "taskruns",
    "task": "taskruns",
    "tasks": "taskruns",
    "workerpool": "workerpools",
    "workerpools": "workerpools",
    "wp": "workerpools",
    "pool": "workerpools",
    "pools": "workerpools",
    "dataset": "datasets",
    "datasets": "datasets",
    "ds": "datasets",
    "notifier": "notifiers",
    "notifiers": "notifiers",
    "nt": "notifiers",
}
SHORT = {
    "dags": "dag",
    "dagruns": "run",
    "taskruns": "task",
    "workerpools": "pool",
    "datasets": "dataset",
    "notifiers": "notifier",
}
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Named:
    """An object that a command is about."""

    plural: str
    name: str

    def __str__(self) -> str:
        return f"{SHORT[self.plural]}/{self.name}"


def plural_of(word: str) -> str:
    """Return the plural of the kind that a word means."""
    plural = WORDS.get(word.lower())
    if plural is None:
        near = difflib.get_close_matches(word.lower(), WORDS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise CliError(f"{word!r} is no kind of object{hint} (kinds: {', '.join(SHORT.values())})", Exit.USAGE)
    return plural


def parse(words: Sequence[str], allowed: Collection[str] = tuple(SHORT)) -> Named:
    """Return the object that `kind/name`, `kind name` or a bare name means, if only some kinds make sense here."""
    named = _parse(words, allowed)
    if named.plural not in allowed:
        kinds = " or ".join(f"{SHORT[plural]}/NAME" for plural in allowed)
        raise CliError(f"{named} is of the wrong kind; this needs {kinds}", Exit.USAGE)
    return named


def _parse(words: Sequence[str], allowed: Collection[str]) -> Named:
    match list(words):
        case [text] if "/" in text:
            word, _, name = text.partition("/")
            if not name:
                raise CliError(f"{text!r} lacks a name; write {word}/NAME", Exit.USAGE)
            return Named(plural_of(word), name)
        case [word, name] if word.lower() in WORDS:
            return Named(WORDS[word.lower()], name)
        case [name] if len(allowed) == 1:
            return Named(next(iter(allowed)), name)
        case [name] if set(allowed) == {"dagruns", "taskruns"}:
            # The name of a task run is that of its run, a dot, and the task.
            return Named("taskruns" if "." in name else "dagruns", name)
        case _:
            kinds = " or ".join(f"{SHORT[plural]}/NAME" for plural in allowed)
            raise CliError(f"{' '.join(words)!r} names no object; write {kinds}", Exit.USAGE)


def resolve(client: Client, named: Named) -> Named:
    """Return the object with `latest` replaced by the name of the newest run."""
    first, dot, rest = named.name.partition(".")
    if first != LATEST or named.plural not in {"dagruns", "taskruns"}:
        return named
    newest = client.get("dagruns", limit=1)["items"]
    if not newest:
        raise CliError("there is no run yet; `setpoint trigger DAG` makes one")
    return Named(named.plural, f"{newest[0]['metadata']['name']}{dot}{rest}")
