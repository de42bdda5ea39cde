"""Gap: S3 reads bucket policies without their conditions, so "deny plain HTTP" denies everything."""

import json
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket


def fill() -> None:
    """Leave statements with a condition out: we serve plain HTTP, which their policies are right to refuse."""

    def get_permission(self: Any, action: str, resource: str) -> PermissionResult:
        if self.policy is None:
            return PermissionResult.NEUTRAL
        policy = json.loads(self.policy)
        policy["Statement"] = [s for s in policy["Statement"] if "Condition" not in s]
        return IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource)

    setattr(FakeBucket, "get_permission", get_permission)  # noqa: B010 - typing forbids to assign to a method
