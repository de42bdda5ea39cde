"""Gap: the API Gateway of version 2 loads that of version 1, which wants a large package that only its OpenAPI import uses."""

import sys
from types import ModuleType


class OpenAPIValidationError(Exception):
    """What the package would raise."""


def validate(_: object) -> None:
    """Refuse, since nothing of ours imports an OpenAPI document."""
    raise NotImplementedError("this cloud imports no OpenAPI documents")


def fill() -> None:
    """Stand in for the package."""
    package = ModuleType("openapi_spec_validator")
    exceptions = ModuleType("openapi_spec_validator.validation.exceptions")
    package.__dict__["validate"] = validate
    exceptions.__dict__["OpenAPIValidationError"] = OpenAPIValidationError
    for module in (package, ModuleType("openapi_spec_validator.validation"), exceptions):
        sys.modules.setdefault(module.__name__, module)
