"""What was deployed before, and the record of what is deployed now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from msgspec.structs import replace

from controller.deploy.aws import wall_clock
from controller.deploy.records import Status
from controller.deploy.step import Refused, StepFailed
from controller.errors import SetpointError

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.deploy.records import Record, Records
    from controller.deploy.step import Say


@dataclass(frozen=True, slots=True)
class History:
    """The last records of an environment."""

    last: Record | None
    previous: Record | None
    """The last one that succeeded."""

    @classmethod
    def read(cls, records: Records) -> Self:
        """Read the records that matter."""
        last = records.last()
        succeeded = last if last is None or last.status is Status.SUCCEEDED else records.last_succeeded()
        return cls(last, succeeded)

    @property
    def number(self) -> int:
        """Return the next number."""
        return self.last.number + 1 if self.last else 1

    @property
    def clean(self) -> bool:
        """Tell whether nothing began since the last success."""
        return self.last is None or self.last.status is Status.SUCCEEDED


def choose(records: Records, history: History, wanted: int | None) -> Record:
    """Return the deployment to go back to; by default the one before the last success, or that one if a later one failed."""
    if wanted is not None:
        return _succeeded(records.get(wanted))
    if history.previous is None:
        raise Refused("nothing was deployed here yet, so there is nothing to go back to")
    if not history.clean:
        return history.previous
    for number in reversed(records.numbers()):
        if number < history.previous.effective:
            record = records.get(number)
            if record.status is Status.SUCCEEDED and record.source is None:
                return record
    raise Refused(
        f"there is no deployment before number {history.previous.effective}; `setpoint rollback --list` shows all"
    )


def recorded(records: Records, record: Record, work: Callable[[Record, Say], Record], say: Say) -> Record:
    """Do the work between two writes of its record, which says how it ended, whatever happens."""
    records.create(record)
    try:
        done = work(record, say)
    except BaseException as error:
        words = str(error) if isinstance(error, SetpointError) else type(error).__name__
        step = error.step if isinstance(error, StepFailed) else ""
        failure = f"{step}: {words}" if step else words
        records.update(replace(record, status=Status.FAILED, ended_at=wall_clock(), failure=failure))
        raise
    finished = replace(done, status=Status.SUCCEEDED, ended_at=wall_clock())
    records.update(finished)
    say(f"recorded as deployment {finished.number}")
    return finished


def _succeeded(record: Record) -> Record:
    if record.status is not Status.SUCCEEDED:
        raise Refused(f"deployment {record.number} is {record.status}: only one that succeeded says what to go back to")
    return record
