"""The operations on services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from controller.local.awsjson import AwsError, JsonObject, Operation, Operations
from controller.local.ecs.model import Service, last_part
from controller.local.ecs.paging import page
from controller.local.ecs.render import service_shape
from controller.local.ecs.tags import Tag

if TYPE_CHECKING:
    from controller.local.ecs.clusters import Clusters
    from controller.local.ecs.ledger import Ledger
    from controller.local.ecs.services import Services

_LARGEST_DESCRIBE = 10


class CreateService(msgspec.Struct, rename="camel"):
    """The request of CreateService."""

    service_name: str
    task_definition: str
    desired_count: int = 0
    cluster: str | None = None
    tags: list[Tag] = []


class UpdateService(msgspec.Struct, rename="camel"):
    """The request of UpdateService."""

    service: str
    cluster: str | None = None
    desired_count: int | None = None
    task_definition: str | None = None
    force_new_deployment: bool = False


class DeleteService(msgspec.Struct, rename="camel"):
    """The request of DeleteService."""

    service: str
    cluster: str | None = None
    force: bool = False


class DescribeServices(msgspec.Struct, rename="camel"):
    """The request of DescribeServices."""

    services: list[str]
    cluster: str | None = None


class ListServices(msgspec.Struct, rename="camel"):
    """The request of ListServices."""

    cluster: str | None = None
    next_token: str | None = None
    max_results: int | None = None


class ServiceOperations:
    """CreateService, UpdateService, DeleteService, DescribeServices, ListServices."""

    def __init__(self, clusters: Clusters, services: Services, ledger: Ledger) -> None:
        self._clusters = clusters
        self._services = services
        self._ledger = ledger

    def operations(self) -> Operations:
        """Return the operations by name."""
        return {
            "CreateService": Operation(dict[str, Any], self._create),
            "UpdateService": Operation(dict[str, Any], self._update),
            "DeleteService": Operation(DeleteService, self._delete),
            "DescribeServices": Operation(DescribeServices, self._describe),
            "ListServices": Operation(ListServices, self._list),
        }

    def create(self, request: CreateService, said: JsonObject | None = None) -> JsonObject:
        """Create a service; `said` is the whole request."""
        cluster = self._clusters.name(request.cluster)
        definition = self._clusters.definition(request.task_definition)
        count = _checked(request.desired_count)
        service = self._services.create(cluster, request.service_name, definition, count, said or {})
        self._clusters.tags.put(service.arn, request.tags)
        return {"service": self._shape(service)}

    def _create(self, said: JsonObject) -> JsonObject:
        return self.create(_converted(said, CreateService), said)

    def _update(self, said: JsonObject) -> JsonObject:
        request = _converted(said, UpdateService)
        service = self._services.get(self._clusters.name(request.cluster), request.service)
        definition = self._clusters.definition(request.task_definition) if request.task_definition else None
        count = None if request.desired_count is None else _checked(request.desired_count)
        updated = self._services.update(service, definition, count, force=request.force_new_deployment, said=said)
        return {"service": self._shape(updated)}

    def _delete(self, request: DeleteService) -> JsonObject:
        service = self._services.get(self._clusters.name(request.cluster), request.service)
        return {"service": self._shape(self._services.delete(service, force=request.force))}

    def _describe(self, request: DescribeServices) -> JsonObject:
        cluster = self._clusters.name(request.cluster)
        if not 1 <= len(request.services) <= _LARGEST_DESCRIBE:
            raise AwsError("InvalidParameterException", f"Name between 1 and {_LARGEST_DESCRIBE} services.")
        seen = {asked: self._services.find(cluster, asked) for asked in request.services}
        return {
            "services": [self._shape(service) for service in seen.values() if service is not None],
            "failures": [
                {"arn": last_part(asked), "reason": "MISSING"} for asked, found in seen.items() if found is None
            ],
        }

    def _list(self, request: ListServices) -> JsonObject:
        services = self._services.all(self._clusters.name(request.cluster))
        arns = [service.arn for service in services if service.active]
        return page("serviceArns", arns, request.next_token, request.max_results)

    def _shape(self, service: Service) -> JsonObject:
        shape = service_shape(service, self._ledger.unfinished(service.name, service.cluster))
        return {**shape, "tags": self._clusters.tags.of(service.arn)}


R = TypeVar("R", bound=msgspec.Struct)


def _converted(said: JsonObject, shape: type[R]) -> R:
    try:
        return msgspec.convert(said, shape)
    except msgspec.ValidationError as error:
        raise AwsError("InvalidParameterException", str(error)) from error


def _checked(count: int) -> int:
    if count < 0:
        raise AwsError("InvalidParameterException", "desiredCount must not be negative.")
    return count
