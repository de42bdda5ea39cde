"""Gaps of RDS: one resource id for all instances, no Performance Insights, and parameters that nobody seems to have set.

The provider finds its instance by the resource id, so a second one breaks both.
"""

import hashlib
from typing import Any

from moto.rds.models import DBInstance, DBParameterGroup


def fill() -> None:
    """Derive the id from the identifier, keep Performance Insights, and say who set a parameter."""
    make, update = DBInstance.__init__, DBParameterGroup.update_parameters

    def init(self: Any, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        digest = hashlib.sha256(self.db_instance_identifier.encode()).hexdigest().upper()
        self.dbi_resource_id = f"db-{digest[:26]}"
        self.performance_insights_enabled = named.get("enable_performance_insights", False)
        self.performance_insights_kms_key_id = named.get("performance_insights_kms_key_id")
        self.performance_insights_retention_period = named.get("performance_insights_retention_period")

    def update_parameters(self: Any, new_parameters: Any) -> None:
        update(self, [{**parameter, "Source": "user"} for parameter in new_parameters])

    setattr(DBInstance, "__init__", init)  # noqa: B010 - typing forbids to assign to a method
    setattr(DBParameterGroup, "update_parameters", update_parameters)  # noqa: B010 - the same
