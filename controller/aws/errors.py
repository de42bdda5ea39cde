"""What AWS's error codes mean for us, in one table."""

from __future__ import annotations

from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from controller.aws.prices import dollars
from controller.errors import SetpointError, Terminal, Throttled, Transient
from controller.runtime.metrics import AWS_COST, AWS_REQUESTS, AWS_SECONDS, AWS_THROTTLED
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

_THROTTLED = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "RequestThrottled",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "SlowDown",
    }
)
# A person must change something: a name, a permission, a setting.
_TERMINAL = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "ServiceNotFoundException",
        "ClusterNotFoundException",
        "InvalidParameterException",
        "InvalidParameterValue",
        "ValidationException",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
    }
)
_NOT_PROVISIONED = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "ServiceNotFoundException",
        "ClusterNotFoundException",
    }
)


@contextmanager
def calling(service: str, operation: str, size: int = 0) -> Iterator[None]:
    """Count, time and price one AWS call of `size` bytes, and raise its failure as Transient, Throttled or Terminal."""
    started = perf_counter()
    code, answered = "200", True
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        code, answered = error_code(error), isinstance(error, ClientError)
        raise translate(error) from error
    finally:
        AWS_REQUESTS.labels(service, operation, code).inc()
        if code in _THROTTLED:
            AWS_THROTTLED.labels(service).inc()
        elif answered:
            AWS_COST.labels(service).inc(dollars(service, operation, size))
        AWS_SECONDS.labels(service, operation).observe(perf_counter() - started)


def error_code(error: ClientError | BotoCoreError) -> str:
    """Return AWS's code, or the class of a failure on the way there."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__


def translate(error: ClientError | BotoCoreError) -> SetpointError:
    """Return what a failure means for us."""
    code = error_code(error)
    if code in _THROTTLED:
        return Throttled(f"{code}: {error}")
    if code in _TERMINAL:
        reason = Reason.NOT_PROVISIONED if code in _NOT_PROVISIONED else Reason.RECONCILE_FAILED
        return Terminal(reason, f"{code}: {error}")
    return Transient(f"{code}: {error}")
