"""The clients that a deployment talks to AWS by, for one account and region."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from controller.aws.errors import calling, translate

if TYPE_CHECKING:
    from mypy_boto3_acm import ACMClient
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient

# A person waits: a dropped connection or a throttled call is repeated here, a few times.
_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5})


@dataclass(frozen=True, slots=True)
class Aws:
    """One account and region, as the person who deploys reaches them."""

    region: str
    account: str
    s3: S3Client
    ecs: ECSClient
    ecr: ECRClient
    acm: ACMClient
    secrets: SecretsManagerClient
    logs: CloudWatchLogsClient

    @classmethod
    def connect(cls, region: str) -> Self:
        """Find the credentials as every AWS tool does, and learn whose they are; raise SetpointError if there are none."""
        session = boto3.Session(region_name=region)
        try:
            with calling("sts", "GetCallerIdentity"):
                account = session.client("sts", config=_CONFIG).get_caller_identity()["Account"]
            return cls(
                region=region,
                account=account,
                s3=session.client("s3", config=_CONFIG),
                ecs=session.client("ecs", config=_CONFIG),
                ecr=session.client("ecr", config=_CONFIG),
                acm=session.client("acm", config=_CONFIG),
                secrets=session.client("secretsmanager", config=_CONFIG),
                logs=session.client("logs", config=_CONFIG),
            )
        except (BotoCoreError, ClientError) as error:
            raise translate(error) from error


def wall_clock() -> datetime:
    """Return the time of this machine: records and certificates carry it, no decision about runs does."""
    return datetime.fromtimestamp(time.time(), UTC)
