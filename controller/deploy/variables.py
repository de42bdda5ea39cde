"""What an environment's variable files say, as far as a deployment has to know it before Terraform runs."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.deploy.step import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BOOTSTRAP_FILE = "bootstrap.auto.tfvars.json"
"""What `bootstrap` writes for Terraform."""
DEFAULT_REGION = "us-east-1"
# Terraform's order: a later file overrides an earlier one, and these override TF_VAR_*.
_NAMED = ("terraform.tfvars", "terraform.tfvars.json")
_AUTOMATIC = ("*.auto.tfvars", "*.auto.tfvars.json")

# One line of HCL that sets a string, a number or a boolean; anything richer is known to be set, and not read.
_ASSIGNED = re.compile(r"^([a-z_][a-z0-9_]*)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_SIMPLE = re.compile(r'^(?:"((?:[^"\\$%]|\\.)*)"|(-?[0-9.]+|true|false|null))\s*(?:(?:#|//).*)?$')
OPAQUE = "(not a simple value)"


@dataclass(frozen=True, slots=True)
class Variables:
    """The simple values of an environment, and the sha256 of each file that they stand in."""

    environment: str
    values: Mapping[str, str]
    written: Mapping[str, str]
    """Those of `values` that stand in files, and may be recorded."""
    digests: Mapping[str, str]

    @property
    def name(self) -> str:
        """Return what everything of the environment is called after."""
        return self.values.get("name") or f"setpoint-{self.environment}"

    @property
    def region(self) -> str:
        """Return the AWS region."""
        return self.values.get("region") or DEFAULT_REGION

    @property
    def has_certificate(self) -> bool:
        """Tell whether the owner gives a certificate, or a domain for which Terraform has one issued."""
        return any(self.values.get(name, "null") != "null" for name in ("certificate_arn", "domain"))


def read(root: Path, environment: str, process: Mapping[str, str] = os.environ) -> Variables:
    """Read an environment's files as Terraform would, without what `bootstrap` wrote; raise Refused for bad JSON."""
    values = {name.removeprefix("TF_VAR_"): value for name, value in process.items() if name.startswith("TF_VAR_")}
    written: dict[str, str] = {}
    digests = {}
    for path in _files(root):
        content = path.read_bytes()
        digests[path.name] = hashlib.sha256(content).hexdigest()
        if path.name != BOOTSTRAP_FILE:
            written |= _json(path, content) if path.suffix == ".json" else _hcl(content.decode())
    return Variables(environment, values | written, written, digests)


def _files(root: Path) -> list[Path]:
    automatic = sorted({path for pattern in _AUTOMATIC for path in root.glob(pattern)})
    return [root / name for name in _NAMED if (root / name).is_file()] + automatic


def _json(path: Path, content: bytes) -> dict[str, str]:
    try:
        found = json.loads(content)
        return {name: _text(value) for name, value in found.items()}
    except (ValueError, AttributeError) as error:
        raise Refused(f"{path} is no JSON object of variables: {error}") from error


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return OPAQUE if isinstance(value, dict | list) else json.dumps(value)


def _hcl(content: str) -> dict[str, str]:
    found = {}
    for name, value in _ASSIGNED.findall(content):
        simple = _SIMPLE.match(value)
        found[name] = (simple[1] if simple[1] is not None else simple[2]) if simple else OPAQUE
    return found
