"""Objects as Polars wants them addressed, from the same settings that boto3 reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def address(root: str, key: str) -> str:
    """Return the path or URL by which Polars reads an object below the store's root."""
    if root.startswith("file://"):
        return f"{unquote(urlsplit(root).path).rstrip('/')}/{key}"
    return f"{root.rstrip('/')}/{key}"


def polars_options(root: str, environment: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """Return Polars's storage options for the store; None: its defaults."""
    endpoint = _endpoint(environment)
    if not root.startswith("s3://") or endpoint is None:
        return None
    return {
        "aws_endpoint_url": endpoint,
        "aws_allow_http": str(endpoint.startswith("http://")).lower(),
        "aws_virtual_hosted_style_request": "false",
    }


def _endpoint(environment: Mapping[str, str]) -> str | None:
    return next((environment[name] for name in _ENDPOINTS if environment.get(name)), None)
