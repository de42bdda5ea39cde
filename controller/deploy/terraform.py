"""Terraform's part of a deployment: the Lambda zips, then init, plan and apply of an environment's root."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.deploy.changes import Change, changes, families, outputs_change, refused
from controller.deploy.step import Refused, StepFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from controller.deploy.step import Say

BACKEND_FILE = "backend.hcl"
PLAN_FILE = "setpoint.tfplan"
LAST_WORDS = 40
"""How many lines of a failed command are kept as its reason."""


@dataclass(frozen=True, slots=True)
class Root:
    """One environment's folder, and the `terraform` that works in it."""

    folder: Path

    def init(self, say: Say) -> None:
        """Fetch the provider and connect the remote state that `bootstrap` wrote down."""
        backend = [f"-backend-config={BACKEND_FILE}"] if (self.folder / BACKEND_FILE).is_file() else []
        stream(self._command("init", "-input=false", "-reconfigure", *backend), say, quiet=True)

    def plan(self, say: Say) -> dict[str, Any]:
        """Write a plan and return it as `terraform show -json` does."""
        stream(self._command("plan", "-input=false", f"-out={PLAN_FILE}"), say, quiet=True)
        found: dict[str, Any] = json.loads(self._read("show", "-json", PLAN_FILE))
        return found

    def apply(self, say: Say) -> None:
        """Apply the plan that was written."""
        stream(self._command("apply", "-input=false", PLAN_FILE), say)

    def deployment(self) -> dict[str, Any] | None:
        """Return the output that a deployment reads, None before the first apply."""
        output = json.loads(self._read("output", "-json")).get("deployment")
        return None if output is None else output["value"]

    def forget_plan(self) -> None:
        """Remove the plan file: it holds values of the state."""
        (self.folder / PLAN_FILE).unlink(missing_ok=True)

    def _read(self, *arguments: str) -> str:
        done = subprocess.run(
            self._command(*arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise StepFailed(f"`terraform {arguments[0]}` failed", *done.stderr.splitlines()[-LAST_WORDS:])
        return done.stdout

    def _command(self, *arguments: str) -> list[str]:
        program = shutil.which("terraform")
        if program is None:
            raise StepFailed("there is no `terraform` in PATH; install Terraform 1.11 or newer")
        return [program, f"-chdir={self.folder}", arguments[0], "-no-color", *arguments[1:]]


@dataclass(slots=True)
class TerraformStep:
    """Make AWS what the environment's root says, after showing what that changes."""

    root: Root
    package: Sequence[str]
    """The command that writes the Lambda zips; empty: they are there."""
    confirm: Callable[[Sequence[str]], bool]
    """Asks the person whether to go on, given what would change."""
    allowed: Collection[str] = ()
    """Addresses that may be destroyed although they hold data."""
    sources: Path | None = None
    """The folder whose code goes into the zips; by default the one we are in."""
    changed: bool = field(default=False, init=False)
    families: frozenset[str] = field(default=frozenset(), init=False)
    """The task definitions whose template the last plan would make anew."""
    name: str = field(default="terraform", init=False)

    def plan(self) -> list[str]:
        """Return the resources that would change."""
        if not (self.root.folder / BACKEND_FILE).is_file():
            return ["everything: there is no state yet, and without its bucket nothing can be planned"]
        try:
            found, outputs = self._planned(_silent)
        finally:
            self.root.forget_plan()
        return [str(change) for change in found] or (["~ outputs"] if outputs else [])

    def apply(self, say: Say) -> None:
        """Plan, refuse what destroys data, ask, and apply; nothing if the plan is empty."""
        try:
            found, outputs = self._planned(say)
            if not found and not outputs:
                say("nothing to change")
                return
            if found and not self.confirm([str(change) for change in found]):
                raise Refused("stopped as answered; nothing was changed by Terraform")
            self.root.apply(say)
            self.changed = True
        finally:
            self.root.forget_plan()

    def _planned(self, say: Say) -> tuple[list[Change], bool]:
        if self.package:
            stream(self.package, say, folder=self.sources)
        self.root.init(say)
        plan = self.root.plan(say)
        found, self.families = changes(plan), families(plan)
        if bad := refused(found, self.allowed):
            raise Refused(
                "the plan destroys what holds data; change the configuration, or name each by --allow-destroy ADDRESS",
                *(str(change) for change in bad),
            )
        return found, outputs_change(plan)


def package_command(out: Path) -> list[str]:
    """Return the command that writes the Lambda zips into a folder."""
    return [sys.executable, "-m", "workers.aws.package", "--out", str(out)]


def stream(command: Sequence[str], say: Say, *, quiet: bool = False, folder: Path | None = None) -> None:
    """Run a command and pass on what it prints, line by line; raise StepFailed with its last lines.

    A quiet one passes on nothing while it succeeds.
    """
    last: deque[str] = deque(maxlen=LAST_WORDS)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder
    ) as process:
        for line in process.stdout or ():
            stripped = line.rstrip()
            if not stripped:
                continue
            last.append(stripped)
            if not quiet:
                say(stripped)
    if process.returncode:
        words = " ".join(part for part in command[:4] if not part.startswith("-"))
        raise StepFailed(f"`{words}` ended with status {process.returncode}", *last)


def _silent(_: str) -> None:
    return
