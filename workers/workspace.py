"""What an attempt needs around it: the code of its DAG, an empty folder, and where data lies."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crds.login import DatabaseAuth
from workers.frames import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from crds.protocol import Grant
    from workers.bundles import Bundles
    from workers.scratch import Scratch


@dataclass(frozen=True, slots=True)
class Workspace:
    """Prepare what a child is told of an attempt."""

    bundles: Bundles
    scratch: Scratch
    objects_url: str
    hot: str | None
    hot_auth: DatabaseAuth = DatabaseAuth.PASSWORD

    @contextmanager
    def command(self, grant: Grant) -> Iterator[Run]:
        """Give the command that runs an attempt; its code and its folder stay until the end of the block."""
        with self._bundle(grant) as bundle, self.scratch.folder() as workdir:
            yield Run(
                grant=grant,
                objects_url=self.objects_url,
                hot=self.hot,
                hot_auth=self.hot_auth,
                bundle=str(bundle) if bundle is not None else None,
                workdir=str(workdir),
            )

    def _bundle(self, grant: Grant) -> AbstractContextManager[Path | None]:
        return nullcontext() if grant.bundle is None else self.bundles.use(grant.bundle)
