"""What a dispatcher stands on in these tests: a clock that is moved, counted ids, one watched connection; and resources."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from psycopg.pq import TransactionStatus

from controller.store.connect import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import psycopg

START = datetime(2026, 3, 2, 8, 0, 0, tzinfo=UTC)


@dataclass
class VirtualClock:
    """A clock that moves only when told to; Postgres's own is never asked."""

    at: datetime = START

    def now(self, connection: psycopg.Connection) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - START).total_seconds()


@dataclass
class CountedIds:
    """Uids that are counted, so that a run repeats exactly."""

    last: int = 0

    def uid(self, now: datetime) -> str:
        self.last += 1
        return f"{self.last:020x}"


@dataclass
class Hooks:
    """What is called at each point where a process may die: `execute`, `commit`, `committed`, `send`, `sent`."""

    point: Callable[[str], None] = lambda _: None


class _Watched(Session):
    hooks: Hooks

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        self.hooks.point("execute")
        return super().execute(*args, **kwargs)

    def commit(self) -> None:
        ends = self.info.transaction_status is not TransactionStatus.IDLE
        if ends:
            self.hooks.point("commit")
        super().commit()
        if ends:
            self.hooks.point("committed")


class OneConnection:
    """A pool of one connection: what nests, and so would need a second one, is an error."""

    def __init__(self, conninfo: str, hooks: Hooks) -> None:
        self._connection = _Watched.connect(conninfo, options="-c search_path=setpoint")
        self._connection.hooks = hooks
        self._hooks = hooks
        self._busy = False

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[psycopg.Connection]:
        assert not self._busy, "a connection is asked for while another one is held"
        self._busy = True
        try:
            yield self._connection
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        finally:
            self._busy = False

    def close(self) -> None:
        self._connection.close()


def task(name: str, needs: Iterable[str] = (), **more: Any) -> dict[str, Any]:
    """Return a python task."""
    return {"name": name, "runtime": "python", "needs": list(needs), "with": {"entrypoint": "main:run"}, **more}


def dag(name: str, *tasks: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return a Dag."""
    return {"kind": "Dag", "metadata": {"name": name}, "spec": {"tasks": list(tasks), **spec}}


def pool(name: str, runtime: str = "python", **spec: Any) -> dict[str, Any]:
    """Return a WorkerPool of ten slots."""
    return {
        "kind": "WorkerPool",
        "metadata": {"name": name},
        "spec": {"runtime": runtime, "slots": 5, "maxTasks": 2, **spec},
    }


def dataset(name: str, *columns: tuple[str, str], tier: str = "cold", **spec: Any) -> dict[str, Any]:
    """Return a Dataset."""
    described = [{"name": column, "type": type_} for column, type_ in columns]
    return {"kind": "Dataset", "metadata": {"name": name}, "spec": {"tier": tier, "columns": described, **spec}}
