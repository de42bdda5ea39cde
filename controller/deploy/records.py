"""What was deployed when: numbered objects in the data bucket."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import ClientError

from controller.aws.errors import calling, error_code
from controller.deploy.step import Refused, StepFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

PREFIX = "deployments/"
_LISTED = 1_000
_ABSENT = frozenset({"NoSuchKey", "404"})
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


class Status(StrEnum):
    """How a deployment stands."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Revision(msgspec.Struct, frozen=True, rename="camel"):
    """The state of the git repository; empty outside one."""

    commit: str = ""
    dirty: bool = False


class Terraform(msgspec.Struct, frozen=True, rename="camel"):
    """What Terraform was given: each variable file's sha256, and the values that are simple."""

    files: dict[str, str] = {}
    values: dict[str, str] = {}


class ServiceRecord(msgspec.Struct, frozen=True, rename="camel"):
    """What a service was pointed at."""

    definition: str
    hash: str


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """One deployment or rollback, without anything secret."""

    number: int
    status: Status
    started_at: datetime
    ended_at: datetime | None = None
    git: Revision = Revision()
    terraform: Terraform = Terraform()
    images: dict[str, str] = {}
    services: dict[str, ServiceRecord] = {}
    migrate_hash: str = ""
    migration_head: str = ""
    dags: str = ""
    """The key of the resources that were applied."""
    dag_names: tuple[str, ...] = ()
    source: int | None = None
    """The deployment that a rollback went back to."""
    failure: str = ""

    @property
    def effective(self) -> int:
        """Return the number of the deployment whose state this one left."""
        return self.number if self.source is None else self.source

    def with_services(self, services: dict[str, ServiceRecord], migrate_hash: str) -> Record:
        """Return the record with what runs now."""
        return msgspec.structs.replace(self, services=services, migrate_hash=migrate_hash)


class Records:
    """The records of an environment, by boto3."""

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def all(self) -> list[Record]:
        """Return every record, oldest first."""
        return [self.get(number) for number in self.numbers()]

    def numbers(self) -> list[int]:
        """Return the numbers of all records, in order."""
        return sorted(self._numbers())

    def last(self) -> Record | None:
        """Return the newest record."""
        numbers = self.numbers()
        return self.get(numbers[-1]) if numbers else None

    def last_succeeded(self) -> Record | None:
        """Return the newest record of a success."""
        found = (self.get(number) for number in reversed(self.numbers()))
        return next((record for record in found if record.status is Status.SUCCEEDED), None)

    def get(self, number: int) -> Record:
        """Return a record; raise StepFailed if there is none of that number."""
        with calling("s3", "GetObject"):
            try:
                data = self._s3.get_object(Bucket=self._bucket, Key=_key(number))["Body"].read()
            except ClientError as error:
                if error_code(error) in _ABSENT:
                    raise Refused(f"there is no deployment {number}; `setpoint rollback --list` shows them") from error
                raise
        try:
            return msgspec.json.decode(data, type=Record)
        except msgspec.DecodeError as error:
            raise StepFailed(f"the record s3://{self._bucket}/{_key(number)} cannot be read: {error}") from error

    def create(self, record: Record) -> None:
        """Write a new record; raise Refused if another deployment took its number."""
        if not self._put(record, IfNoneMatch="*"):
            raise Refused(f"another deployment took number {record.number} just now; look at it, then deploy again")

    def update(self, record: Record) -> None:
        """Replace a record, as its owner does."""
        self._put(record)

    def _numbers(self) -> Iterator[int]:
        with calling("s3", "ListObjectsV2"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=PREFIX, Delimiter="/", PaginationConfig={"PageSize": _LISTED}
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    name = entry.get("Key", "").removeprefix(PREFIX).removesuffix(".json")
                    if name.isdigit():
                        yield int(name)

    def _put(self, record: Record, **condition: str) -> bool:
        with calling("s3", "PutObject"):
            try:
                self._s3.put_object(
                    Bucket=self._bucket,
                    Key=_key(record.number),
                    Body=msgspec.json.format(msgspec.json.encode(record), indent=2),
                    ContentType="application/json",
                    **condition,  # type: ignore[arg-type]
                )
            except ClientError as error:
                if condition and error_code(error) in _TAKEN:
                    return False
                raise
        return True


def _key(number: int) -> str:
    return f"{PREFIX}{number:06d}.json"
