"""Gap: security-group rules forget their description unless they name an address range."""

from typing import Any

from moto.ec2.models.security_groups import SecurityGroupRule


def fill() -> None:
    """Find the description of a rule that names a group or a prefix list, too."""
    make = SecurityGroupRule.__init__

    def init(self: Any, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        prefix_list = named.get("prefix_list_id") or {}
        self.prefix_list_description = prefix_list.get("Description")

    def description(self: Any) -> str | None:
        said: str | None = self.ip_range.get("Description") or self.source_group.get("Description")
        return said or str(self.prefix_list_description or "") or None

    setattr(SecurityGroupRule, "__init__", init)  # noqa: B010 - typing forbids to assign to a method
    setattr(SecurityGroupRule, "description", property(description))  # noqa: B010 - the same
