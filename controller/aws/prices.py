"""What a call to AWS costs: list prices of us-east-1 in US dollars, free tiers left out.

https://aws.amazon.com/sqs/pricing/, likewise for the others. An estimate, of requests alone: what a function runs or a task
takes stands on AWS's bill.
"""

from __future__ import annotations

from math import ceil

_CHUNK = 64 * 1024
"""SQS and SNS charge each 64 KiB of a request as a request of its own."""
_CHUNKED = frozenset({"sqs", "sns"})
_DOLLARS = {
    ("sqs", "SendMessageBatch"): 0.50e-6,  # FIFO queues
    ("sqs", "ReceiveMessage"): 0.50e-6,
    ("sqs", "DeleteMessageBatch"): 0.50e-6,
    ("sqs", "GetQueueAttributes"): 0.50e-6,
    ("sqs", "GetQueueUrl"): 0.50e-6,
    ("lambda", "Invoke"): 0.20e-6,
    ("secretsmanager", "GetSecretValue"): 5e-6,
    ("sns", "Publish"): 0.50e-6,
}
"""ECS charges for no call."""


def dollars(service: str, operation: str, size: int = 0) -> float:
    """Return the price of one call with a body of so many bytes, 0 for a call that is not charged for."""
    chunks = max(ceil(size / _CHUNK), 1) if service in _CHUNKED else 1
    return _DOLLARS.get((service, operation), 0.0) * chunks
