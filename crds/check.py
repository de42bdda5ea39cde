"""What the schema of one resource cannot say: names that must exist, and things that must fit together.

Pure functions over resources. Files are checked by crds.files.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeGuard

from crds.check_dag import check_dag
from crds.dag import Dag
from crds.finding import Finding
from crds.names import dead_letter_name, queue_name
from crds.pool import Runtime, WorkerPool
from crds.surroundings import Reference, Surroundings, reference_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from crds.meta import Resource

MAX_FINDINGS = 500


def check(
    resources: Sequence[Resource],
    known: Iterable[Resource] | None = (),
    unread: Collection[Reference] = (),
) -> list[tuple[int, Finding]]:
    """Return what is wrong with resources that are applied together, with each resource's position.

    `known` are the pools and datasets that exist already; None if that cannot be told, so that any name may
    be one of them. `unread` are resources that could not be read: their names exist, no more is known.
    """
    return list(islice(_check(resources, known, unread), MAX_FINDINGS))


def _check(
    resources: Sequence[Resource], known: Iterable[Resource] | None, unread: Collection[Reference]
) -> Iterator[tuple[int, Finding]]:
    existing = tuple(known or ())
    yield from _duplicates(resources)
    yield from _shared_queues(resources, existing)
    surroundings = Surroundings.of((*existing, *resources), unread, complete=known is not None)
    for position, resource in enumerate(resources):
        if isinstance(resource, Dag):
            for finding in check_dag(resource, surroundings):
                yield position, finding


def _duplicates(resources: Sequence[Resource]) -> Iterator[tuple[int, Finding]]:
    seen: set[Reference] = set()
    for position, resource in enumerate(resources):
        reference = reference_of(resource)
        if reference in seen:
            yield (
                position,
                Finding(("metadata", "name"), f'there is another {reference.kind} "{reference.name}"'),
            )
        seen.add(reference)


def _shared_queues(resources: Sequence[Resource], existing: Sequence[Resource]) -> Iterator[tuple[int, Finding]]:
    """A queue belongs to one pool, for its messages name no pool."""
    applied = {reference_of(resource) for resource in resources}
    owners: dict[str, Reference] = {}
    for resource in existing:
        if _has_queue(resource) and reference_of(resource) not in applied:
            owners[_queue(resource)] = reference_of(resource)
    dead_letters = {dead_letter_name(queue): owner for queue, owner in owners.items()}
    for position, resource in enumerate(resources):
        if not _has_queue(resource):
            continue
        queue, reference = _queue(resource), reference_of(resource)
        path = ("spec", "queue") if resource.spec.queue else ("metadata", "name")
        owner = owners.setdefault(queue, reference)
        if owner != reference:
            yield position, Finding(path, f'the queue "{queue}" belongs to the pool "{owner.name}" already')
        other = dead_letters.get(queue)
        if other and other != reference:
            yield position, Finding(path, f'"{queue}" is the dead-letter queue of the pool "{other.name}"')
        dead_letters.setdefault(dead_letter_name(queue), reference)


def _has_queue(resource: Resource) -> TypeGuard[WorkerPool]:
    return isinstance(resource, WorkerPool) and resource.spec.runtime is not Runtime.LAMBDA


def _queue(pool: WorkerPool) -> str:
    return pool.spec.queue or queue_name(pool.metadata.name, pool.metadata.namespace)
