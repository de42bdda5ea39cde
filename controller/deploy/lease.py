"""The lease that one deployment of an environment at a time holds, by S3's conditional writes."""

from __future__ import annotations

import getpass
import os
import socket
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import ClientError

from controller.aws.errors import calling, error_code
from controller.deploy.aws import wall_clock
from controller.deploy.step import Refused, StepFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

    from controller.deploy.step import Say

LEASE = timedelta(minutes=15)
"""How long a lease stands without being renewed: longer than any step is silent."""
RENEWED_AFTER = timedelta(minutes=1)
_ABSENT = frozenset({"NoSuchKey", "404"})
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


@contextmanager
def leased(s3: S3Client, bucket: str, environment: str, say: Say) -> Iterator[Say]:
    """Hold the environment's lease; the Say that it gives renews it while there is something to say."""
    holder = f"{getpass.getuser()} on {socket.gethostname()} (process {os.getpid()})"
    lease = Lease(s3, bucket, f"{environment}/deploy-lease.json", holder, wall_clock)
    lease.take()
    renewed = wall_clock()

    def say_and_renew(line: str) -> None:
        nonlocal renewed
        say(line)
        if wall_clock() - renewed > RENEWED_AFTER:
            lease.renew()
            renewed = wall_clock()

    try:
        yield say_and_renew
    finally:
        lease.release()


class LeaseRecord(msgspec.Struct, frozen=True, rename="camel"):
    """Who deploys, and until when nobody else does."""

    holder: str
    expires_at: datetime


class Lease:
    """An object that one deployment at a time writes, by S3's conditional writes."""

    def __init__(self, s3: S3Client, bucket: str, key: str, holder: str, now: Callable[[], datetime]) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._key = key
        self._holder = holder
        self._now = now
        self._tag = ""

    def take(self) -> None:
        """Take the lease, or one that expired; raise Refused with who holds it."""
        found = self._read()
        if found is None:
            taken = self._write(IfNoneMatch="*")
        elif found[0].expires_at <= self._now():
            taken = self._write(IfMatch=found[1])
        else:
            until = found[0].expires_at.isoformat(timespec="seconds")
            raise Refused(
                f"{found[0].holder} deploys this environment; wait for it, or until its lease ends at {until}"
            )
        if not taken:
            raise Refused("another deployment of this environment began just now; wait for it")

    def renew(self) -> None:
        """Move the end of our lease; raise StepFailed if somebody took it, since then two deploy."""
        if not self._write(IfMatch=self._tag):
            raise StepFailed("the lease of this deployment was taken by another; look at `setpoint rollback --list`")

    def release(self) -> None:
        """Let others deploy; a lease that is not ours any more stays."""
        found = self._read()
        if found is not None and found[1] == self._tag:
            with calling("s3", "DeleteObject"):
                self._s3.delete_object(Bucket=self._bucket, Key=self._key)

    def _read(self) -> tuple[LeaseRecord, str] | None:
        with calling("s3", "GetObject"):
            try:
                answer = self._s3.get_object(Bucket=self._bucket, Key=self._key)
            except ClientError as error:
                if error_code(error) in _ABSENT:
                    return None
                raise
        try:
            return msgspec.json.decode(answer["Body"].read(), type=LeaseRecord), answer["ETag"]
        except msgspec.DecodeError as error:
            raise StepFailed(f"s3://{self._bucket}/{self._key} is no lease; delete it: {error}") from error

    def _write(self, **condition: str) -> bool:
        body = msgspec.json.encode(LeaseRecord(self._holder, self._now() + LEASE))
        with calling("s3", "PutObject"):
            try:
                answer = self._s3.put_object(Bucket=self._bucket, Key=self._key, Body=body, **condition)  # type: ignore[arg-type]
            except ClientError as error:
                if error_code(error) in _TAKEN | _ABSENT:
                    return False
                raise
        self._tag = answer["ETag"]
        return True
