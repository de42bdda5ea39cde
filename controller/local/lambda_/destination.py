"""On-failure destinations: a record in SQS of each asynchronous invocation that was given up.

Its shape: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from controller.local.lambda_.function import REGION

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from controller.local.lambda_.function import Function, Outcome
    from controller.local.lambda_.instance import Call

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Why Lambda repeats an invocation no more; `outcome` is the last try's, if there was one."""

    condition: str
    tries: int
    outcome: Outcome | None = None


async def tell(function: Function, call: Call, why: GivenUp) -> None:
    """Send the record; what cannot be sent is logged and lost, as on AWS without permission."""
    url = function.on_failure or ""
    body = msgspec.json.encode(record(function, call, why, datetime.fromtimestamp(time.time(), UTC))).decode()
    try:
        await asyncio.to_thread(_client(url).send_message, QueueUrl=url, MessageBody=body)
    except (BotoCoreError, ClientError) as error:
        _LOG.warning("lost the record of request %s of %s: %s", call.id, function.name, error)


def record(function: Function, call: Call, why: GivenUp, now: datetime) -> dict[str, Any]:
    """Return what a destination receives."""
    made: dict[str, Any] = {
        "version": "1.0",
        "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": call.id,
            "functionArn": f"{function.arn}:$LATEST",
            "condition": why.condition,
            "approximateInvokeCount": why.tries,
        },
        "requestPayload": msgspec.json.decode(call.payload),
    }
    if why.outcome is not None:
        made["responseContext"] = {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
        made["responsePayload"] = msgspec.json.decode(why.outcome.payload)
    return made


@cache
def _client(url: str) -> SQSClient:
    at = urlsplit(url)
    return boto3.client(
        "sqs",
        endpoint_url=f"{at.scheme}://{at.netloc}",
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - the local SQS checks no signatures
        config=Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=2, read_timeout=5),
    )
