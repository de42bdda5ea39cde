"""What people read: one message from the facts that a transition left behind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from controller.diff.explain import span

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_CHARS = 300
"""The most characters of an error that a message repeats; the log has the rest."""
_TOKEN = r"[^\s,;&\"')]+"  # noqa: S105 - a pattern, no secret
# What looks like a secret in an error: what is named one, bearer tokens, passwords in URLs, AWS and Slack keys.
_SECRETS = (
    (
        re.compile(rf"(?i)\b([\w-]*(?:password|passwd|secret|token|api[_-]?key)[\w-]*\"?'?\s*[=:]\s*[\"']?){_TOKEN}"),
        r"\1***",
    ),
    (re.compile(rf"(?i)\b(bearer|basic)\s+{_TOKEN}"), r"\1 ***"),
    (re.compile(r"(\w+://[^\s:/@]*):[^\s@]+@"), r"\1:***@"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "***"),
    (re.compile(r"(?i)(https://hooks\.slack\.com/)\S+"), r"\1***"),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that failed, and the first line of why."""

    task: str
    why: str


@dataclass(frozen=True, slots=True)
class Text:
    """A message, without the marks of any channel; the id is the same however often it is sent."""

    id: str
    occasion: str
    subject: str
    summary: str
    failures: tuple[Failure, ...]
    command: str
    link: str | None
    attributes: Mapping[str, str]
    """What a program that receives it can filter by."""

    @property
    def plain(self) -> str:
        """Return the whole message as plain text."""
        lines = [self.summary, ""]
        lines += [f"  {f.task}: {f.why}" for f in self.failures] + ([""] if self.failures else [])
        lines += [f"Look: {self.command}"] + ([f"Link: {self.link}"] if self.link else [])
        return "\n".join(lines) + "\n"

    @property
    def bad(self) -> bool:
        """Tell whether somebody should look."""
        return self.occasion in {"RunFailed", "DatasetStale"}


def compose(id_: str, occasion: str, facts: Mapping[str, Any], public_url: str = "") -> Text:
    """Return the message of a transition."""
    run = facts.get("kind") == "DagRun"
    subject, summary = _of_run(occasion, facts) if run else _of_dataset(occasion, facts)
    plural, word = ("dagruns", "run") if run else ("datasets", "dataset")
    name, namespace = _printable(str(facts["name"])), str(facts["namespace"])
    path = f"/apis/setpoint.dev/v1/namespaces/{quote(namespace)}/{plural}/{quote(name)}"
    flag = "" if namespace == "default" else f" -n {namespace}"
    attributes = {"id": id_, "occasion": occasion, "kind": str(facts["kind"]), "namespace": namespace, "name": name}
    return Text(
        id_,
        occasion,
        _printable(subject),
        _printable(summary),
        tuple(_failures(facts)),
        f"setpoint explain {word}/{name}{flag}",
        f"{public_url.rstrip('/')}{path}" if public_url else None,
        attributes | ({"dag": str(facts["dag"])} if run else {}),
    )


def first_line(text: str) -> str:
    """Return the first line of an error that says something, short, printable, without what looks like a secret."""
    line = next((stripped for raw in text.splitlines() if (stripped := raw.strip())), "")
    for pattern, mask in _SECRETS:
        line = pattern.sub(mask, line)
    line = _printable(line)
    return line if len(line) <= LINE_CHARS else f"{line[: LINE_CHARS - 1]}…"


def _printable(text: str) -> str:
    """Return text on one line, without anything that a header or a terminal would take for more than text."""
    return "".join(c if c.isprintable() else " " for c in text)


def _of_run(occasion: str, facts: Mapping[str, Any]) -> tuple[str, str]:
    dag, name, failed = facts["dag"], facts["name"], int(facts.get("failed", 0))
    ended, started = _time(facts["at"]), _time(facts["started"])
    took = f"after {span(ended - started)}, at {ended:%Y-%m-%d %H:%M:%S} UTC"
    match occasion:
        case "RunRecovered":
            return f"{dag} recovered", f"Run {name} of DAG {dag} succeeded {took}; the run before it had failed."
        case "RunSucceeded":
            return f"{dag} succeeded", f"Run {name} of DAG {dag} succeeded {took}."
        case _:
            first = next(iter(_failures(facts)), None)
            which = f": {first.task}" if first else ""
            more = f" and {failed - 1} more" if failed > 1 else ""
            why = "" if first else f": {first_line(str(facts.get('message') or facts.get('reason') or ''))}"
            return f"{dag} failed{which}{more}", f"Run {name} of DAG {dag} failed {took}{why}."


def _of_dataset(occasion: str, facts: Mapping[str, Any]) -> tuple[str, str]:
    state = "is stale" if occasion == "DatasetStale" else "is fresh again"
    return f"dataset {facts['name']} {state}", f"Dataset {facts['name']} {state}: {facts.get('message') or ''}."


def _failures(facts: Mapping[str, Any]) -> list[Failure]:
    found = []
    for task in facts.get("tasks", ()):
        name = _printable(f"{task['task']}[{task['index']}]" if task.get("index") else str(task["task"]))
        reason, why = task.get("reason") or "", first_line(task.get("message") or "")
        found.append(Failure(name, ": ".join(part for part in (reason, why) if part) or "failed"))
    left = int(facts.get("failed", 0)) - len(found)
    return [*found, Failure("…", f"{left} more tasks failed")] if found and left > 0 else found


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
