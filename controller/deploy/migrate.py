"""The step that brings the database to what the new code needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.store.migrate import head

if TYPE_CHECKING:
    from controller.deploy.run import Run
    from controller.deploy.step import Say
    from controller.deploy.targets import Templates


@dataclass(slots=True)
class Migrate:
    """Run the migrations, and draw missing secrets, as a one-off task of the new image."""

    run: Run
    targets: Templates
    name: str = field(default="migrations", init=False)

    def plan(self) -> list[str]:
        """Return from where to where the schema goes; nothing if the last deployment ran the same task."""
        before, wanted = self.run.previous, self.targets.hash(self.run.deployment.migrate)
        at = before.migration_head if before else ""
        if at != head():
            return [f"the schema goes from {at or 'nothing'} to {head()}"]
        return (
            [] if before and before.migrate_hash == wanted else ["the migration task runs again, its definition is new"]
        )

    def apply(self, say: Say) -> None:
        """Run the task unless the last deployment ran the same."""
        if not self.plan():
            say(f"the schema is at {head()}")
            return
        workload = self.run.deployment.migrate
        self.run.task("migrate", workload, self.targets.obtain(workload), (), say)
