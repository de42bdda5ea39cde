"""Opening the object store that a URL names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from obstore.store import LocalStore, S3Store

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, S3Config

TIMEOUT = "30s"


def open_store(url: str) -> ObjectStore:
    """Return the store at `file:///folder` (made if missing) or `s3://bucket/prefix`.

    Region, credentials and endpoint of S3 come from the environment, by the names that boto3 reads too.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalStore(Path(unquote(parts.path)), mkdir=True)
    if parts.scheme == "s3":
        return _s3(parts.netloc, parts.path.strip("/"))
    raise ValueError(f"object store {url!r}: use file:///folder or s3://bucket/prefix")


def _s3(bucket: str, prefix: str) -> ObjectStore:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config: S3Config = {"bucket": bucket}
    client: ClientConfig = {"timeout": TIMEOUT}
    if endpoint:
        config["endpoint"] = endpoint
        client["allow_http"] = endpoint.startswith("http://")
    return S3Store(prefix=prefix or None, config=config, client_options=client)
