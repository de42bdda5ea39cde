"""Errors of the local SQS, in the words that AWS uses."""

# The names that older SDKs know: modelled shapes whose code differs from the shape's name.
_PREFIX = "AWS.SimpleQueueService."
_RENAMED = {"QueueDoesNotExist": f"{_PREFIX}NonExistentQueue", "QueueNameExists": "QueueAlreadyExists"}
_PREFIXED = frozenset(
    {
        "BatchEntryIdsNotDistinct",
        "BatchRequestTooLong",
        "EmptyBatchRequest",
        "InvalidBatchEntryId",
        "MessageNotInflight",
        "PurgeQueueInProgress",
        "TooManyEntriesInBatchRequest",
        "UnsupportedOperation",
    }
)


class SqsError(Exception):
    """A request that SQS refuses; the sender must change it, a repetition would not help."""

    def __init__(self, shape: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.shape = shape
        self.message = message
        self.status = status

    @property
    def code(self) -> str:
        """Return the code that boto3 shows as `response["Error"]["Code"]`."""
        if self.shape in _PREFIXED:
            return _PREFIX + self.shape
        return _RENAMED.get(self.shape, self.shape)


def invalid_parameter(message: str) -> SqsError:
    """Return the error for a parameter whose value cannot be used."""
    return SqsError("InvalidParameterValue", message)


def invalid_value(value: object, parameter: str, reason: str) -> SqsError:
    """Return the error for one named parameter, in the sentence that AWS uses."""
    return invalid_parameter(f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")


def missing_parameter(name: str) -> SqsError:
    """Return the error for a request that lacks a parameter."""
    return SqsError("MissingParameter", f"The request must contain the parameter {name}.")


def unknown_attribute(name: str) -> SqsError:
    """Return the error for a queue attribute that does not exist for this type of queue."""
    return SqsError("InvalidAttributeName", f"Unknown Attribute {name}.")


def invalid_attribute(name: str) -> SqsError:
    """Return the error for a queue attribute whose value is out of range."""
    return SqsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")


def no_such_queue() -> SqsError:
    """Return the error for a queue that does not exist."""
    return SqsError("QueueDoesNotExist", "The specified queue does not exist.")


def no_such_resource(message: str) -> SqsError:
    """Return the error for an ARN or a task handle that names nothing."""
    return SqsError("ResourceNotFoundException", message, status=404)


def invalid_handle(handle: str) -> SqsError:
    """Return the error for a receipt handle that this queue cannot have issued."""
    return SqsError("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.')


def expired_handle(handle: str) -> SqsError:
    """Return the error of FIFO queues for a handle whose visibility timeout is over."""
    return invalid_value(handle, "ReceiptHandle", "The receipt handle has expired.")
