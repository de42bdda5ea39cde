"""Hunt mutants, each in processes of its own, and show which check caught each of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.mutation.mutant import Mutant

ROOT = Path(__file__).parents[2]
TEST_SECONDS = 600
"""After how long tests that a mutant lets hang are ended."""
SHOWN = 100
_FAILURE = re.compile(r"^E +(.+)$", re.MULTILINE)
# Names that the seed drew say nothing of the promise.
_NAMES = re.compile(r"\b0[0-9a-f]{19}(/[\w./-]+)?")


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a hunt: the message of the check that failed, after how many schedules and seconds."""

    mutant: Mutant
    message: str | None
    schedules: int | None
    """None if tests were run."""
    seconds: float
    trouble: str | None = None
    """Why the hunt could not be made."""

    @property
    def verdict(self) -> str:
        """Return `caught`, `survived`, or what is wrong with the mutant."""
        if self.trouble is not None:
            return f"broken: {self.trouble}"
        if self.message is None:
            return "SURVIVED"
        return "caught" if self.mutant.fits(self.message) else "caught by something else"


def campaign(mutants: Sequence[Mutant], seeds: int, jobs: int) -> int:
    """Hunt all, at most `jobs` at a time; print a table and return 0 if each was caught by its own check."""
    hunted: list[Found] = []
    with ThreadPoolExecutor(jobs) as pool:
        hunts = [pool.submit(hunt, mutant, seeds, _say) for mutant in mutants]
        for done in as_completed(hunts):
            found = done.result()
            hunted.append(found)
            _say(f"{len(hunted)}/{len(mutants)} {found.mutant.name}: {found.verdict}, {_after(found)}\n")
    hunted.sort(key=lambda f: mutants.index(f.mutant))
    sys.stdout.write("\n" + table(hunted))
    return 0 if all(found.verdict == "caught" for found in hunted) else 1


def hunt(mutant: Mutant, seeds: int, say: Callable[[str], None]) -> Found:
    """Hunt one mutant by its tests, or by schedules until one catches it."""
    started = time.monotonic()
    message, schedules, trouble = _by_tests(mutant) if mutant.tests else _by_schedules(mutant, seeds, say)
    return Found(mutant, message, schedules, time.monotonic() - started, trouble)


def table(hunted: Sequence[Found]) -> str:
    """Return the results as a table in Markdown."""
    lines = ["| mutant | what it breaks | caught by | schedules | seconds |", "|---|---|---|---|---|"]
    for found in hunted:
        by = _promise(found.message) if found.verdict == "caught" else f"**{found.verdict}** {_promise(found.message)}"
        after = "tests" if found.schedules is None else str(found.schedules)
        lines.append(f"| `{found.mutant.name}` | {found.mutant.breaks} | {by} | {after} | {found.seconds:.0f} |")
    return "\n".join(lines) + "\n"


def _by_schedules(mutant: Mutant, seeds: int, say: Callable[[str], None]) -> tuple[str | None, int | None, str | None]:
    command = [sys.executable, "-m", "tests.mutation.hunt", mutant.name, "--seeds", str(seeds)]
    # Sets of texts come in another order in every process, unless their hashes are the same.
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    last: dict[str, Any] = {"schedules": 0, "caught": None}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            for line in process.stdout or ():
                last = json.loads(line)
                say(f"{mutant.name}: {last['schedules']} schedules")
            error = process.stderr.read() if process.stderr else ""
        finally:
            process.terminate()
    trouble = None if last["caught"] or process.returncode == 0 else _last_line(error)
    return last["caught"], last["schedules"], trouble


def _by_tests(mutant: Mutant) -> tuple[str | None, int | None, str | None]:
    # Tests that fail anyway would catch any mutant.
    without = _pytest(mutant.tests)
    if isinstance(without, str) or without.returncode != 0:
        return None, None, "its tests fail without it"
    run = _pytest(["-p", "tests.mutation.plugin", "--mutant", mutant.name, *mutant.tests])
    if isinstance(run, str):
        return None, None, run
    if run.returncode == 0:
        return None, None, None
    failed = re.search(r"^FAILED \S*::(\S+)", run.stdout, re.MULTILINE)
    found = _FAILURE.search(run.stdout)
    if run.returncode != 1 or failed is None or found is None:
        return None, None, _last_line(run.stderr or run.stdout)
    return f"{failed[1]}: {found[1]}", None, None


def _pytest(arguments: Sequence[str]) -> subprocess.CompletedProcess[str] | str:
    """Return what pytest came to, or why it did not."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments]
    try:
        return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=TEST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"no end within {TEST_SECONDS} s"


def _promise(message: str | None) -> str:
    """Return the check's message without the names that the seed drew, short enough for a table."""
    text = _NAMES.sub("…", (message or "").removeprefix("AssertionError: ")).replace("|", "\\|")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _after(found: Found) -> str:
    unit = "its tests" if found.schedules is None else f"{found.schedules} schedules"
    return f"{unit}, {found.seconds:.0f} s"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]


def _say(text: str) -> None:
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()
