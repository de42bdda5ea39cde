"""What a person asks of a deployment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.deploy.step import Refused
from controller.deploy.waiting import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Request:
    """An environment, where its parts lie, and what may be done without asking."""

    environment: str
    terraform: Path
    """The folder of Terraform's modules and environments."""
    dags: Path
    project: Path
    """The folder of Dockerfile and git."""
    confirm: Callable[[Sequence[str]], bool]
    images: Mapping[str, str] = field(default_factory=dict)
    tag: str = ""
    build: bool = False
    keep_images: bool = False
    package: bool = True
    allow_destroy: frozenset[str] = frozenset()
    patience: Patience = field(default_factory=Patience)

    @property
    def root(self) -> Path:
        """Return the environment's root; raise Refused if there is none."""
        folder = self.terraform / "environments" / self.environment
        if folder.is_dir():
            return folder.resolve()
        known = sorted(path.name for path in (self.terraform / "environments").glob("*") if path.is_dir())
        raise Refused(
            f"there is no {folder}; environments are {', '.join(known)}"
            if known
            else f"{self.terraform} has no environments; run this in the project's folder, or give --terraform-dir"
        )
