"""Clusters and task definitions, and their operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from controller.local.awsjson import AwsError, JsonObject, Operation, Operations
from controller.local.ecs.model import Container, Status, TaskDefinition, cluster_arn, last_part
from controller.local.ecs.paging import page
from controller.local.ecs.render import definition_shape

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from controller.local.ecs.ledger import Ledger


class CreateCluster(msgspec.Struct, rename="camel"):
    """The request of CreateCluster."""

    cluster_name: str = "default"


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


class Clusters:
    """The clusters and the revisions of each family of task definitions."""

    def __init__(self, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._now = now
        self._names = {"default"}
        self._families: dict[str, list[TaskDefinition]] = {}

    def operations(self) -> Operations:
        """Return the operations by name."""
        return {
            "CreateCluster": Operation(CreateCluster, self._create),
            "DescribeClusters": Operation(DescribeClusters, self._describe),
            "RegisterTaskDefinition": Operation(dict[str, Any], self.register),
            "DescribeTaskDefinition": Operation(DescribeTaskDefinition, self._describe_definition),
            "ListTaskDefinitions": Operation(ListTaskDefinitions, self._list_definitions),
        }

    def name(self, name_or_arn: str | None) -> str:
        """Return the name of a known cluster or raise ClusterNotFoundException."""
        name = last_part(name_or_arn or "default")
        if name not in self._names:
            raise AwsError("ClusterNotFoundException", "Cluster not found.")
        return name

    def definition(self, reference: str) -> TaskDefinition:
        """Return what `family`, `family:revision` or an ARN names; the family's latest without a revision."""
        family, _, revision = last_part(reference).partition(":")
        revisions = self._families.get(family, [])
        wanted = [one for one in revisions if revision in {"", str(one.revision)}]
        if not wanted:
            raise AwsError("ClientException", "Unable to describe task definition.")
        return wanted[-1]

    def add(self, name: str) -> None:
        """Make a cluster; repeating is harmless."""
        self._names.add(name)

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
        return {"taskDefinition": definition_shape(revisions[-1])}

    def _create(self, request: CreateCluster) -> JsonObject:
        self.add(request.cluster_name)
        return {"cluster": self._shape(request.cluster_name)}

    def _describe(self, request: DescribeClusters) -> JsonObject:
        asked = {reference: last_part(reference) for reference in request.clusters or ["default"]}
        return {
            "clusters": [self._shape(name) for name in asked.values() if name in self._names],
            "failures": [
                {"arn": cluster_arn(name), "reason": "MISSING"} for name in asked.values() if name not in self._names
            ],
        }

    def _describe_definition(self, request: DescribeTaskDefinition) -> JsonObject:
        return {"taskDefinition": definition_shape(self.definition(request.task_definition))}

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
            "clusterArn": cluster_arn(name),
            "clusterName": name,
            "status": "ACTIVE",
            "runningTasksCount": sum(task.status is Status.RUNNING for task in tasks),
            "pendingTasksCount": sum(task.status is Status.PENDING for task in tasks),
        }
