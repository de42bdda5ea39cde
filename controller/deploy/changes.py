"""What a Terraform plan would change, and what of it no deployment does unless told by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

KEPT = frozenset({"aws_db_instance", "aws_kms_key", "aws_s3_bucket", "aws_sqs_queue"})
"""What holds data, or opens it: once destroyed it does not come back."""
_TEMPLATE = "aws_ecs_task_definition"
_SIGNS = {"create": "+", "update": "~", "delete": "-", "replace": "-/+"}
_NOTHING = frozenset({"no-op", "read"})


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that a plan touches."""

    address: str
    type: str
    action: str
    """create, update, delete or replace"""

    def __str__(self) -> str:
        """Return it as Terraform marks it."""
        return f"{_SIGNS.get(self.action, '?')} {self.address}"

    @property
    def destroys(self) -> bool:
        """Tell whether the resource that is there now would be gone."""
        return self.action in {"delete", "replace"}


def changes(plan: Mapping[str, Any]) -> list[Change]:
    """Return the changes of `terraform show -json` of a plan, by address."""
    found = [
        Change(entry["address"], entry["type"], _action(entry["change"]["actions"]))
        for entry in plan.get("resource_changes", ())
        if not _NOTHING.issuperset(entry["change"]["actions"])
    ]
    return sorted(found, key=lambda change: change.address)


def outputs_change(plan: Mapping[str, Any]) -> bool:
    """Tell whether an output would change, which an apply alone stores."""
    return any(not _NOTHING.issuperset(entry["actions"]) for entry in plan.get("output_changes", {}).values())


def families(plan: Mapping[str, Any]) -> frozenset[str]:
    """Return the families of task definitions whose template the plan makes anew."""
    return frozenset(
        str((entry["change"].get("after") or {}).get("family"))
        for entry in plan.get("resource_changes", ())
        if entry["type"] == _TEMPLATE and "create" in entry["change"]["actions"]
    )


def refused(found: Sequence[Change], allowed: Collection[str]) -> list[Change]:
    """Return the changes that destroy what holds data and are not allowed by their address."""
    return [change for change in found if change.destroys and change.type in KEPT and change.address not in allowed]


def _action(actions: Sequence[str]) -> str:
    # A replacement is both, in the order that the resource wants; `forget` leaves the resource itself alone.
    if "delete" in actions and "create" in actions:
        return "replace"
    return actions[0]
