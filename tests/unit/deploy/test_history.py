"""Which deployment a rollback goes back to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from controller.deploy.history import History, choose
from controller.deploy.records import Record, Status
from controller.deploy.step import Refused

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass
class Kept:
    """Records in memory, read as those in S3 are."""

    records: list[Record]

    def numbers(self) -> list[int]:
        return [record.number for record in self.records]

    def get(self, number: int) -> Record:
        return self.records[number - 1]

    def last(self) -> Record | None:
        return self.records[-1] if self.records else None

    def last_succeeded(self) -> Record | None:
        return next((r for r in reversed(self.records) if r.status is Status.SUCCEEDED), None)


def kept(*entries: str | int) -> Any:
    """Return records: `ok`, `failed`, `started`, or the number that a rollback went back to."""
    return Kept([_record(number, entry) for number, entry in enumerate(entries, 1)])


def _record(number: int, entry: str | int) -> Record:
    if isinstance(entry, int):
        return Record(number, Status.SUCCEEDED, NOW, source=entry)
    status = {"ok": Status.SUCCEEDED, "failed": Status.FAILED, "started": Status.STARTED}[entry]
    return Record(number, status, NOW)


@pytest.mark.parametrize(
    ("entries", "to", "number"),
    [
        pytest.param(("ok", "ok"), None, 1, id="the one before"),
        pytest.param(("ok", "failed", "ok"), None, 1, id="over one that failed"),
        pytest.param(("ok", "ok", "failed"), None, 2, id="from a failure to the last success"),
        pytest.param(("ok", "ok", "started"), None, 2, id="from one that was cut off"),
        pytest.param(("ok", "ok", "ok", 2), None, 1, id="back twice goes further"),
        pytest.param(("ok", "ok", 1, "ok"), None, 2, id="a rollback itself is no goal"),
        pytest.param(("ok", "ok", "ok"), 1, 1, id="by number"),
    ],
)
def test_choose(entries: tuple[str | int, ...], to: int | None, number: int) -> None:
    records = kept(*entries)
    assert choose(records, History.read(records), to).number == number


@pytest.mark.parametrize(
    ("entries", "to"),
    [
        pytest.param((), None, id="nothing was deployed"),
        pytest.param(("ok",), None, id="nothing before"),
        pytest.param(("ok", "ok", 1), None, id="nothing before what was gone back to"),
        pytest.param(("failed", "ok"), 1, id="one that failed"),
    ],
)
def test_nothing_to_go_back_to(entries: tuple[str | int, ...], to: int | None) -> None:
    records = kept(*entries)
    with pytest.raises(Refused):
        choose(records, History.read(records), to)


@pytest.mark.parametrize(
    ("entries", "number", "clean"),
    [
        pytest.param((), 1, True, id="first"),
        pytest.param(("ok", "ok"), 3, True, id="after a success"),
        pytest.param(("ok", "failed"), 3, False, id="after a failure"),
    ],
)
def test_next(entries: tuple[str, ...], number: int, clean: bool) -> None:
    history = History.read(kept(*entries))
    assert (history.number, history.clean) == (number, clean)
