"""What must fit together around one task: its pool, datasets, secrets and parameters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from crds.dag import Dag, HttpSource, IngestTask, Output, PolarsTask, Task, WriteMode
from crds.dataset import Dataset, DatasetSpec, Tier
from crds.finding import FieldPath, Finding, nearest
from crds.params import declared
from crds.pool import Runtime, WorkerPool, WorkerPoolSpec
from crds.surroundings import Reference, Surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLACEHOLDER = re.compile(r"\$\{(params|secrets)\.([^}]*)\}")


def check_task(task: Task, path: FieldPath, dag: Dag, surroundings: Surroundings) -> Iterator[Finding]:
    """Find what is wrong with a task of a DAG; `path` is where it stands."""
    pool = _pool(task, dag, surroundings)
    if pool is None and surroundings.complete and _pool_reference(task, dag) not in surroundings.pools:
        yield _unknown_pool(task, path, dag, surroundings)
    if pool is not None:
        yield from _check_pool(task, path, pool)
    yield from _check_datasets(task, path, dag, surroundings)
    yield from _check_body(task, path, dag)


def _pool_reference(task: Task, dag: Dag) -> Reference:
    return Reference(WorkerPool.__name__, dag.metadata.namespace, task.pool or task.runtime)


def _pool(task: Task, dag: Dag, surroundings: Surroundings) -> WorkerPoolSpec | None:
    return surroundings.pools.get(_pool_reference(task, dag))


def _unknown_pool(task: Task, path: FieldPath, dag: Dag, surroundings: Surroundings) -> Finding:
    names = _names(surroundings.pools, dag)
    if task.pool is None:
        message = f'there is no pool "{task.runtime}"; apply a WorkerPool of that name, or name another in pool'
        return Finding((*path, "runtime"), message)
    return Finding((*path, "pool"), f'unknown pool "{task.pool}"', nearest(task.pool, names))


def _check_pool(task: Task, path: FieldPath, pool: WorkerPoolSpec) -> Iterator[Finding]:
    name = task.pool or task.runtime
    if pool.runtime != task.runtime:
        at = (*path, "pool" if task.pool else "runtime")
        yield Finding(at, f'the pool "{name}" runs {pool.runtime} tasks, not {task.runtime}')
        return
    if pool.runtime is Runtime.PYTHON:
        for alias, secret in task.secrets.items():
            if secret not in pool.grants.secrets:
                message = f'the pool "{name}" is not granted "{secret}"; add it to its grants.secrets'
                yield Finding((*path, "secrets", alias), message)


def _check_datasets(task: Task, path: FieldPath, dag: Dag, surroundings: Surroundings) -> Iterator[Finding]:
    named = [(("inputs", alias), source.dataset) for alias, source in task.inputs.items() if source.dataset]
    named += [(("outputs", alias), output.dataset) for alias, output in task.outputs.items()]
    for where, dataset in named:
        if surroundings.complete and _dataset_reference(dataset, dag) not in surroundings.datasets:
            near = nearest(dataset, _names(surroundings.datasets, dag))
            yield Finding((*path, *where, "dataset"), f'unknown dataset "{dataset}"', near)
    if isinstance(task, PolarsTask | IngestTask) and len(task.outputs) != 1:
        message = f"a task of runtime {task.runtime} writes exactly one dataset, not {len(task.outputs)}"
        yield Finding((*path, "outputs"), message)
    pool = _pool(task, dag, surroundings)
    for alias, output in task.outputs.items():
        spec = surroundings.datasets.get(_dataset_reference(output.dataset, dag))
        if spec is not None:
            yield from _check_output(task, (*path, "outputs", alias), output, spec, pool)


def _dataset_reference(name: str, dag: Dag) -> Reference:
    return Reference(Dataset.__name__, dag.metadata.namespace, name)


def _check_output(
    task: Task, path: FieldPath, output: Output, dataset: DatasetSpec, pool: WorkerPoolSpec | None
) -> Iterator[Finding]:
    missing = {
        WriteMode.MERGE: {
            "a hot dataset": dataset.tier is Tier.HOT,
            "a uniqueKey": bool(dataset.unique_key),
        },
        WriteMode.REPLACE_PARTITIONS: {
            "a cold dataset": dataset.tier is Tier.COLD,
            "partitionBy": bool(dataset.partition_by),
        },
    }.get(output.mode, {})
    needed = [need for need, there in missing.items() if not there]
    if needed:
        message = f'{output.mode} needs {" with ".join(needed)}; "{output.dataset}" is {_described(dataset)}'
        yield Finding((*path, "mode"), message)
    granted = pool is None or output.dataset in pool.grants.cold_datasets
    if isinstance(task, IngestTask) and dataset.tier is Tier.COLD and not granted:
        name = task.pool or task.runtime
        refusal = f'the pool "{name}" may not write the cold dataset "{output.dataset}"'
        yield Finding((*path, "dataset"), f"{refusal}; add it to its grants.coldDatasets")


def _described(dataset: DatasetSpec) -> str:
    has = [("uniqueKey", dataset.unique_key), ("partitionBy", dataset.partition_by)]
    fields = [f"{name} {', '.join(columns)}" for name, columns in has if columns]
    return f"{dataset.tier} with {' and '.join(fields)}" if fields else f"{dataset.tier} without either"


def _check_body(task: Task, path: FieldPath, dag: Dag) -> Iterator[Finding]:
    body = (*path, "with")
    if isinstance(task, PolarsTask) and task.with_.file and ".." in task.with_.file.split("/"):
        yield Finding((*body, "file"), f'"{task.with_.file}" leads out of the folder')
    if not isinstance(task, IngestTask):
        return
    source = task.with_
    if source.postgres and source.postgres.secret not in task.secrets:
        yield _undeclared_secret((*body, "postgres", "secret"), source.postgres.secret, task)
    if source.http:
        yield from _check_placeholders(source.http, (*body, "http"), task, dag)


def _check_placeholders(source: HttpSource, path: FieldPath, task: Task, dag: Dag) -> Iterator[Finding]:
    params = declared(dag.spec.params)
    texts: list[tuple[FieldPath, str]] = [((*path, "url"), source.url)]
    texts += [((*path, "headers", name), text) for name, text in source.headers.items()]
    for where, text in texts:
        for holder, name in _PLACEHOLDER.findall(text):
            if holder == "secrets" and name not in task.secrets:
                yield _undeclared_secret(where, name, task)
            elif holder == "params" and name not in params:
                yield Finding(where, f'unknown parameter "{name}"; declare it in spec.params', nearest(name, params))


def _undeclared_secret(path: FieldPath, alias: str, task: Task) -> Finding:
    return Finding(path, f'"{alias}" is none of the task\'s secrets', nearest(alias, task.secrets))


def _names(known: Mapping[Reference, object], dag: Dag) -> list[str]:
    return [reference.name for reference in known if reference.namespace == dag.metadata.namespace]
