"""The data bucket, as the person who deploys reaches it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import boto3
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

if TYPE_CHECKING:
    from controller.deploy.aws import Aws


def data_store(aws: Aws, bucket: str) -> S3Store:
    """Return the bucket; profiles and single sign-on work, since boto3 finds the credentials."""
    session = boto3.Session(region_name=aws.region)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return S3Store(
        bucket,
        region=aws.region,
        endpoint=endpoint,
        client_options={"allow_http": True} if endpoint and endpoint.startswith("http:") else None,
        credential_provider=Boto3CredentialProvider(session),
    )
