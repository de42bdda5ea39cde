"""Gap: ECS services forget most of what they are made with, which the provider takes for drift or for a replacement."""

from typing import Any

from moto.ecs.responses import EC2ContainerServiceResponse

# The request's names, and what AWS answers where the request says nothing.
_FORGOTTEN: dict[str, tuple[str, object]] = {
    "capacityProviderStrategy": ("capacity_provider_strategy", []),
    "availabilityZoneRebalancing": ("availability_zone_rebalancing", "DISABLED"),
    "healthCheckGracePeriodSeconds": ("health_check_grace_period_seconds", None),
    "deploymentConfiguration": ("deployment_configuration", None),
    "enableECSManagedTags": ("enable_ecs_managed_tags", False),
    "enableExecuteCommand": ("enable_execute_command", False),
    "platformVersion": ("platform_version", None),
    "networkConfiguration": ("network_configuration", None),
}


def fill() -> None:
    """Keep what CreateService and UpdateService say, and answer it."""
    create, update = EC2ContainerServiceResponse.create_service, EC2ContainerServiceResponse.update_service

    def create_service(self: Any) -> Any:
        answer = create(self)
        for name, (attribute, default) in _FORGOTTEN.items():
            given = self._get_param(name)
            setattr(_service(answer), attribute, default if given is None else given)
        return answer

    def update_service(self: Any) -> Any:
        answer = update(self)
        for name, (attribute, _) in _FORGOTTEN.items():
            if (given := self._get_param(name)) is not None:
                setattr(_service(answer), attribute, given)
        return answer

    setattr(EC2ContainerServiceResponse, "create_service", create_service)  # noqa: B010 - typing forbids to assign to a method
    setattr(EC2ContainerServiceResponse, "update_service", update_service)  # noqa: B010 - typing forbids to assign to a method


def _service(answer: Any) -> Any:
    return answer.result["service"]
