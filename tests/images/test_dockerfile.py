"""What the Dockerfile says, without an engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
TARGETS = {
    "dispatcher": ("controller.main", "controller.probe"),
    "worker-polars": ("workers", "workers.probe"),
    "worker-python": ("workers", "workers.probe"),
    "worker-ingest": ("workers", "workers.probe"),
}


def instructions() -> list[tuple[str, str, str]]:
    """Return (stage, instruction, arguments), continued lines joined."""
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    stage, found = "", []
    for line in filter(None, map(str.strip, lines)):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stage = rest.partition(" AS ")[2]
        found.append((stage, name, rest.strip()))
    return found


INSTRUCTIONS = instructions()
PARENTS = {stage: rest.partition(" AS ")[0] for stage, name, rest in INSTRUCTIONS if name == "FROM"}


def last(target: str, name: str) -> str:
    """Return an instruction's arguments as they hold in a target: its own, or what it has from its parents."""
    stage = target
    while stage in PARENTS:
        own = [rest for at, found, rest in INSTRUCTIONS if at == stage and found == name]
        if own:
            return own[-1]
        stage = PARENTS[stage]
    return ""


def test_every_stage_stands_on_one_pinned_base() -> None:
    ours = set(PARENTS)
    assert {parent for parent in PARENTS.values() if parent not in ours} == {"${BASE_IMAGE}${BASE_DIGEST}"}
    (base,) = [
        rest for stage, name, rest in INSTRUCTIONS if not stage and name == "ARG" and rest.startswith("BASE_IMAGE")
    ]
    assert re.fullmatch(r"BASE_IMAGE=[a-z]+:\d+\.\d+-slim-\w+", base)


@pytest.mark.parametrize("target", TARGETS)
def test_targets(target: str) -> None:
    program, probe = TARGETS[target]
    assert last(target, "USER") == "10001:10001"
    assert json.loads(last(target, "CMD")) == ["python", "-m", program]
    assert json.loads(last(target, "HEALTHCHECK").partition(" CMD ")[2]) == ["python", "-m", probe]
    assert last(target, "ENTRYPOINT") == ""
    assert target.replace("-", " ") in last(target, "LABEL")


def test_the_images_hold_no_secret_and_no_machine() -> None:
    named = [rest for _, name, rest in INSTRUCTIONS if name in {"ARG", "ENV"}]
    assert not [rest for rest in named if re.search(r"token|password|secret=|_key", rest, re.IGNORECASE)]
    addresses = set(re.findall(r"https?://([^/\s]+)", TEXT))
    assert addresses == {"truststore.pki.rds.amazonaws.com"}


def test_nothing_is_resolved_or_compiled() -> None:
    installs = [
        line for _, name, rest in INSTRUCTIONS if name == "RUN" for line in rest.split("&&") if "install" in line
    ]
    assert installs
    assert all("--no-deps" in line for line in installs)
    assert not re.search(r"apt-get|gcc|build-essential", TEXT)


def test_what_is_left_out_stands_in_the_lock() -> None:
    """A package that was renamed in the lock would be installed unnoticed."""
    lock = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    for without in re.findall(r'WITHOUT="([^"]+)"', TEXT):
        assert not set(without.split("|")) - lock


def test_only_what_is_needed_reaches_the_build() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    copied = {
        word for _, name, rest in INSTRUCTIONS if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]
    }
    assert copied <= {line.removeprefix("!") for line in lines}
