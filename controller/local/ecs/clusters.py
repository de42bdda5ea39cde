"""Clusters and task definitions, and their operations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from controller.local.awsjson import AwsError, JsonObject, Operation, Operations
from controller.local.ecs.model import Container, Status, TaskDefinition, cluster_arn, last_part
from controller.local.ecs.paging import page
from controller.local.ecs.render import definition_shape
from controller.local.ecs.tags import Tag, Tags

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from controller.local.ecs.ledger import Ledger


class CreateCluster(msgspec.Struct, rename="camel"):
    """The request of CreateCluster."""

    cluster_name: str = "default"
    settings: list[JsonObject] = []
    configuration: JsonObject | None = None
    capacity_providers: list[str] = []
    default_capacity_provider_strategy: list[JsonObject] = []
    tags: list[Tag] = []


class UpdateCluster(msgspec.Struct, rename="camel"):
    """The request of UpdateCluster, UpdateClusterSettings and PutClusterCapacityProviders."""

    cluster: str
    settings: list[JsonObject] | None = None
    configuration: JsonObject | None = None
    capacity_providers: list[str] | None = None
    default_capacity_provider_strategy: list[JsonObject] | None = None


class DeleteCluster(msgspec.Struct, rename="camel"):
    """The request of DeleteCluster."""

    cluster: str


class DescribeClusters(msgspec.Struct, rename="camel"):
    """The request of DescribeClusters."""

    clusters: list[str] = []


class DescribeTaskDefinition(msgspec.Struct, rename="camel"):
    """The request of DescribeTaskDefinition."""

    task_definition: str


class ListTaskDefinitions(msgspec.Struct, rename="camel"):
    """The request of ListTaskDefinitions."""

    family_prefix: str | None = None
    sort: str = "ASC"
    next_token: str | None = None
    max_results: int | None = None


class RegisterTaskDefinition(msgspec.Struct, rename="camel"):
    """The part of a RegisterTaskDefinition that is checked; all of it is kept."""

    family: str
    container_definitions: list[Container]
    tags: list[Tag] = []


_CLUSTER_SAYS = ("settings", "configuration", "capacityProviders", "defaultCapacityProviderStrategy")


class Clusters:
    """The clusters and the revisions of each family of task definitions."""

    def __init__(self, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._now = now
        self._known: dict[str, JsonObject] = {"default": {}}
        self.tags = Tags()
        self._families: dict[str, list[TaskDefinition]] = {}

    def operations(self) -> Operations:
        """Return the operations by name."""
        return {
            "CreateCluster": Operation(CreateCluster, self._create),
            "DescribeClusters": Operation(DescribeClusters, self._describe),
            "UpdateCluster": Operation(UpdateCluster, self._update),
            "UpdateClusterSettings": Operation(UpdateCluster, self._update),
            "PutClusterCapacityProviders": Operation(UpdateCluster, self._update),
            "DeleteCluster": Operation(DeleteCluster, self._delete),
            "RegisterTaskDefinition": Operation(dict[str, Any], self.register),
            "DescribeTaskDefinition": Operation(DescribeTaskDefinition, self._describe_definition),
            "ListTaskDefinitions": Operation(ListTaskDefinitions, self._list_definitions),
            "DeregisterTaskDefinition": Operation(DescribeTaskDefinition, self._deregister),
            **self.tags.operations(),
        }

    def name(self, name_or_arn: str | None) -> str:
        """Return the name of a known cluster or raise ClusterNotFoundException."""
        name = last_part(name_or_arn or "default")
        if name not in self._known:
            raise AwsError("ClusterNotFoundException", "Cluster not found.")
        return name

    def definition(self, reference: str) -> TaskDefinition:
        """Return what `family`, `family:revision` or an ARN names; the family's latest without a revision."""
        family, _, revision = last_part(reference).partition(":")
        revisions = self._families.get(family, [])
        # By its number also one that was deregistered is found, as services may still run it.
        wanted = [one for one in revisions if (one.active if not revision else revision == str(one.revision))]
        if not wanted:
            raise AwsError("ClientException", "Unable to describe task definition.")
        return wanted[-1]

    def add(self, name: str) -> None:
        """Make a cluster; repeating is harmless."""
        self._known.setdefault(name, {})

    def register(self, body: JsonObject) -> JsonObject:
        """Add a revision to a family."""
        try:
            checked = msgspec.convert(body, RegisterTaskDefinition)
        except msgspec.ValidationError as error:
            raise AwsError("ClientException", str(error)) from error
        if not checked.container_definitions:
            raise AwsError("ClientException", "Container definitions should not be empty.")
        revisions = self._families.setdefault(checked.family, [])
        # Old revisions may still be run by services, so none is ever dropped: a deploy adds one.
        container = checked.container_definitions[0]
        revisions.append(TaskDefinition(checked.family, len(revisions) + 1, container, body, self._now()))
        self.tags.put(revisions[-1].arn, checked.tags)
        return {"taskDefinition": definition_shape(revisions[-1]), "tags": self.tags.of(revisions[-1].arn)}

    def _create(self, request: CreateCluster) -> JsonObject:
        self.add(request.cluster_name)
        said = msgspec.to_builtins(request)
        self._known[request.cluster_name] = {name: said[name] for name in _CLUSTER_SAYS if said[name]}
        self.tags.put(cluster_arn(request.cluster_name), request.tags)
        return {"cluster": self._shape(request.cluster_name)}

    def _update(self, request: UpdateCluster) -> JsonObject:
        name = self.name(request.cluster)
        said = msgspec.to_builtins(request)
        self._known[name] |= {key: said[key] for key in _CLUSTER_SAYS if said[key] is not None}
        return {"cluster": self._shape(name)}

    def _delete(self, request: DeleteCluster) -> JsonObject:
        name = self.name(request.cluster)
        if any(task.cluster == name for task in self._ledger.unfinished()):
            raise AwsError("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
        shape = self._shape(name)
        del self._known[name]
        return {"cluster": {**shape, "status": "INACTIVE"}}

    def _deregister(self, request: DescribeTaskDefinition) -> JsonObject:
        definition = self.definition(request.task_definition)
        revisions = self._families[definition.family]
        revisions[definition.revision - 1] = replace(definition, active=False)
        return {"taskDefinition": definition_shape(revisions[definition.revision - 1])}

    def _describe(self, request: DescribeClusters) -> JsonObject:
        asked = {reference: last_part(reference) for reference in request.clusters or ["default"]}
        return {
            "clusters": [self._shape(name) for name in asked.values() if name in self._known],
            "failures": [
                {"arn": cluster_arn(name), "reason": "MISSING"} for name in asked.values() if name not in self._known
            ],
        }

    def _describe_definition(self, request: DescribeTaskDefinition) -> JsonObject:
        definition = self.definition(request.task_definition)
        return {"taskDefinition": definition_shape(definition), "tags": self.tags.of(definition.arn)}

    def _list_definitions(self, request: ListTaskDefinitions) -> JsonObject:
        prefix = request.family_prefix
        families = sorted(name for name in self._families if prefix in {None, name})
        arns = [definition.arn for name in families for definition in self._families[name]]
        if request.sort == "DESC":
            arns.reverse()
        return page("taskDefinitionArns", arns, request.next_token, request.max_results)

    def _shape(self, name: str) -> JsonObject:
        tasks = [task for task in self._ledger.unfinished() if task.cluster == name]
        return {
            **self._known[name],
            "tags": self.tags.of(cluster_arn(name)),
            "clusterArn": cluster_arn(name),
            "clusterName": name,
            "status": "ACTIVE",
            "runningTasksCount": sum(task.status is Status.RUNNING for task in tasks),
            "pendingTasksCount": sum(task.status is Status.PENDING for task in tasks),
        }
