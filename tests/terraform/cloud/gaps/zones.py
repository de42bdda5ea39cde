"""Gap: a Route 53 zone is private only if the request calls it so, not already if it names a VPC."""

from typing import Any

from moto.route53.responses import Route53


def fill() -> None:
    """Take a zone that is made with a VPC for private."""
    answer = Route53.create_hosted_zone

    def create_hosted_zone(self: Any) -> Any:
        ask = self._get_bool_param

        def said(name: str, default: Any = None) -> Any:
            with_network = name == "HostedZoneConfig.PrivateZone" and self._get_param("VPC.VPCId")
            return True if with_network else ask(name, default)

        self._get_bool_param = said
        return answer(self)

    setattr(Route53, "create_hosted_zone", create_hosted_zone)  # noqa: B010 - typing forbids to assign to a method
