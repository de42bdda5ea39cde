"""The inputs of an attempt, opened when they are first used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from crds.dataset import Tier
from workers.data import cold
from workers.data.schema import dataset_spec
from workers.data.values import resolve

if TYPE_CHECKING:
    from crds.protocol import Grant
    from workers.data.hot import HotData
    from workers.task import Services


class Inputs(Mapping[str, Any]):
    """By alias: a LazyFrame for a dataset, a JSON value for a task."""

    def __init__(self, grant: Grant, services: Services, hot: HotData) -> None:
        self._inputs = grant.inputs
        self._services = services
        self._hot = hot
        self._opened: dict[str, Any] = {}

    def __getitem__(self, alias: str) -> Any:
        if alias not in self._inputs:
            known = ", ".join(self._inputs) or "none"
            raise KeyError(f"{alias!r} is no input of this task; it has {known}")
        if alias not in self._opened:
            self._opened[alias] = self._open(alias)
        return self._opened[alias]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inputs)

    def __len__(self) -> int:
        return len(self._inputs)

    def _open(self, alias: str) -> Any:
        source = self._inputs[alias]
        if source.dataset is None:
            return resolve(source.value, self._services.objects)
        if dataset_spec(source.dataset).tier is Tier.COLD:
            return cold.scan(source.dataset, self._services.objects_url)
        return self._hot.read(source.dataset, self._services.workdir / f"input-{alias}.csv")
