"""The pools and datasets that a DAG may name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from crds.dataset import Dataset, DatasetSpec
from crds.pool import WorkerPool, WorkerPoolSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from crds.meta import Resource


class Reference(NamedTuple):
    """The identity of a resource."""

    kind: str
    namespace: str
    name: str


def reference_of(resource: Resource) -> Reference:
    """Return the identity of a resource."""
    return Reference(type(resource).__name__, resource.metadata.namespace, resource.metadata.name)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Specs by reference; None for a resource that could not be read. `complete`: there are no others."""

    pools: Mapping[Reference, WorkerPoolSpec | None]
    datasets: Mapping[Reference, DatasetSpec | None]
    complete: bool

    @classmethod
    def of(cls, resources: Iterable[Resource], unread: Collection[Reference], *, complete: bool) -> Surroundings:
        """Return the surroundings that resources make; a later resource replaces an earlier one."""
        pools: dict[Reference, WorkerPoolSpec | None] = {}
        datasets: dict[Reference, DatasetSpec | None] = {}
        for resource in resources:
            if isinstance(resource, WorkerPool):
                pools[reference_of(resource)] = resource.spec
            elif isinstance(resource, Dataset):
                datasets[reference_of(resource)] = resource.spec
        for reference in unread:
            if reference.kind == WorkerPool.__name__:
                pools[reference] = None
            elif reference.kind == Dataset.__name__:
                datasets[reference] = None
        return cls(pools, datasets, complete)
