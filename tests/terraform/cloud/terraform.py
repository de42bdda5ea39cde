"""The real Terraform with the real AWS provider, run in a copy of `terraform/` so that the tree stays clean."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[3]
PROVIDER = "registry.terraform.io/hashicorp/aws"
# Where people and images put providers: Terraform's own places, then those of packages and images.
PLUGIN_FOLDERS = (
    "~/.terraform.d/plugins",
    "~/.terraform.d/plugin-cache",
    "~/.local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
    "/usr/local/share/terraform/plugins",
    "/opt/*",
    "/opt/*/*",
)
_CONFIGURED = re.compile(r'^\s*(?:path|plugin_cache_dir)\s*=\s*"([^"]+)"', re.MULTILINE)
# By default the provider repeats a call 25 times, which makes an operation that the cloud lacks look like a hang.
RETRIES = 'provider "aws" {\n  max_retries = 5\n}\n'
LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'
PARALLELISM = 30
LAST_WORDS = 6000


class TerraformFailed(AssertionError):
    """Terraform ended with an error; the message is what it said last."""


@cache
def plugin_folder() -> Path | None:
    """Return the folder that holds the AWS provider as Terraform wants it laid out, or None."""
    named = os.environ.get("TF_PLUGIN_DIR")
    for pattern in (named,) if named else (*_configured(), *PLUGIN_FOLDERS):
        for folder in sorted(glob.glob(os.path.expanduser(pattern))):  # noqa: PTH111, PTH207 - a pattern, not a path
            if any((Path(folder) / PROVIDER).glob("5.*")):
                return Path(folder)
    return None


def _configured() -> list[str]:
    """Return the mirrors and the cache that Terraform's own configuration names."""
    path = Path(os.environ.get("TF_CLI_CONFIG_FILE") or "~/.terraformrc").expanduser()
    return _CONFIGURED.findall(path.read_text()) if path.is_file() else []


def missing() -> str | None:
    """Return in one line why Terraform cannot run here, or None."""
    if shutil.which("terraform") is None:
        return "no terraform in PATH"
    if plugin_folder() is None:
        return "no AWS provider 5.x in a plugin folder (name one by TF_PLUGIN_DIR)"
    return None


@dataclass(frozen=True, slots=True)
class Terraform:
    """One root or module of a copied tree, with the environment that its commands run in."""

    tree: Path
    root: Path
    environment: Mapping[str, str]

    @classmethod
    def copy(
        cls, destination: Path, folder: str, environment: Mapping[str, str] | None = None, *, source: Path = ROOT
    ) -> Self:
        """Copy terraform/ and dags/ to `destination`, with stand-ins for the Lambda zips; work in its terraform/`folder`."""
        for name in ("terraform", "dags"):
            _copy_tree(source / name, destination / name)
        _write_zips(destination / "build/lambda")
        terraform = cls(destination, destination / "terraform" / folder, environment or {})
        if folder.startswith("environments/"):
            (terraform.root / "test_override.tf").write_text(RETRIES)
        return terraform

    def init(self, *arguments: str) -> None:
        """Link the provider; without arguments the state is a local file."""
        if not arguments and self.root.parent.name == "environments":
            (self.root / "backend_override.tf").write_text(LOCAL_STATE)
        self.run("init", "-input=false", *arguments)

    def validate(self) -> None:
        """Check the configuration alone."""
        self.run("validate")

    def test(self, *arguments: str) -> str:
        """Run the module's own tests."""
        return self.run("test", *arguments)

    def plan(self, *arguments: str) -> bool:
        """Write the plan to `tfplan`; return True if it would change something."""
        code, _ = self._run(
            "plan", "-input=false", "-detailed-exitcode", "-out=tfplan", f"-parallelism={PARALLELISM}", *arguments
        )
        return code == 2  # by -detailed-exitcode: 0 is no change, 1 raised above

    def show(self, plan: str | None = "tfplan") -> dict[str, Any]:
        """Return a plan, or with None the state, as JSON."""
        shown: dict[str, Any] = json.loads(self.run("show", "-json", *([plan] if plan else [])))
        return shown

    def apply(self, *arguments: str) -> None:
        """Make the cloud match, without asking."""
        self.run("apply", "-input=false", "-auto-approve", f"-parallelism={PARALLELISM}", *arguments)

    def destroy(self, *arguments: str) -> None:
        """Remove everything, without asking."""
        self.run("destroy", "-input=false", "-auto-approve", f"-parallelism={PARALLELISM}", *arguments)

    def output(self) -> dict[str, Any]:
        """Return the outputs' values."""
        return {name: entry["value"] for name, entry in json.loads(self.run("output", "-json")).items()}

    def run(self, *arguments: str) -> str:
        """Run a command and return what it printed; raise TerraformFailed with its last words."""
        return self._run(*arguments)[1]

    def _run(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            ["terraform", f"-chdir={self.root}", arguments[0], *_plain(arguments)],
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 2) or (done.returncode and arguments[0] != "plan"):
            raise TerraformFailed(f"terraform {' '.join(arguments)}: {(done.stdout + done.stderr)[-LAST_WORDS:]}")
        return done.returncode, done.stdout

    def variables(self) -> dict[str, str]:
        """Return the whole environment of a command."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
        return {**kept, **offline(), **self.environment}


def offline() -> dict[str, str]:
    """Return the variables by which any `terraform` finds its provider in the plugin folder and asks no one else."""
    return {
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_CONFIG_FILE": os.devnull,
        "TF_CLI_ARGS_init": f"-plugin-dir={plugin_folder()}",
    }


def _plain(arguments: tuple[str, ...]) -> list[str]:
    # `show` and `output` have no colours to switch off; the rest takes the option.
    colours = [] if arguments[0] in {"version", "fmt"} else ["-no-color"]
    return [*colours, *arguments[1:]]


def _write_zips(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("sources.zip", "operator.zip"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(zipfile.ZipInfo("stand_in.py"), b"")


def _copy_tree(source: Path, destination: Path) -> None:
    ignored = shutil.ignore_patterns(
        ".terraform", ".terraform.lock.hcl", "*.tfstate*", "backend.hcl", "*.auto.tfvars.json"
    )
    shutil.copytree(source, destination, ignore=ignored, dirs_exist_ok=True)
