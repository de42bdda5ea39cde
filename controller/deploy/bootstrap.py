"""What must be there before Terraform can begin: the bucket of its state, and a certificate where the owner gives none."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from cryptography import x509

from controller.aws.errors import calling, error_code
from controller.deploy.aws import wall_clock
from controller.deploy.certificate import RENEWED_BEFORE, issue
from controller.deploy.step import Refused
from controller.deploy.terraform import BACKEND_FILE
from controller.deploy.variables import BOOTSTRAP_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from mypy_boto3_acm import ACMClient
    from mypy_boto3_s3 import S3Client

    from controller.deploy.aws import Aws
    from controller.deploy.step import Say
    from controller.deploy.variables import Variables

OWNER_TAG = "setpoint:certificate"
"""The tag by which the next run finds the certificate."""
_MISSING = frozenset({"404", "NoSuchBucket", "NoSuchBucketPolicy"})
_FOREIGN = frozenset({"403", "AccessDenied", "BucketAlreadyExists"})
_FIRST_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate that ACM holds for the environment, and the authority that clients have to trust."""

    arn: str
    authority: str
    ends_at: datetime


@dataclass(slots=True)
class Bootstrap:
    """Make state bucket and certificate once, and write down where they are, for Terraform."""

    aws: Aws
    root: Path
    variables: Variables
    now: Callable[[], datetime] = wall_clock
    name: str = field(default="bootstrap", init=False)

    @property
    def bucket(self) -> str:
        """Return the name of the state bucket."""
        return state_bucket(self.variables.name, self.aws.account)

    def plan(self) -> list[str]:
        """Return what is missing."""
        lines = [] if _is_made(self.aws.s3, self.bucket) else [f"+ bucket {self.bucket} for Terraform's state"]
        found = None if self.variables.has_certificate else _find(self.aws.acm, self.variables.name)
        if not self.variables.has_certificate and (found is None or self._ends(found)):
            lines.append(f"{'+' if found is None else '~'} self-signed certificate for {self._host()} in ACM")
        if not lines:
            lines += [f"~ {path.name}" for path, text in self._files(found) if not _says(path, text)]
        return lines

    def apply(self, say: Say) -> None:
        """Make what is missing."""
        if not _is_made(self.aws.s3, self.bucket):
            _make_bucket(self.aws.s3, self.bucket, self.aws.region)
            say(f"bucket {self.bucket} is made")
        for path, text in self._files(self._certificate(say)):
            if not _says(path, text):
                path.write_text(text, encoding="utf-8")
                say(f"{path} is written")

    def _certificate(self, say: Say) -> Certificate | None:
        if self.variables.has_certificate:
            return None
        found = _find(self.aws.acm, self.variables.name)
        if found is not None and not self._ends(found):
            return found
        arn = self._import(found)
        say(f"certificate for {self._host()} is {'renewed' if found else 'made'}: {arn}")
        return _describe(self.aws.acm, arn)

    def _import(self, found: Certificate | None) -> str:
        issued = issue(self._host(), self.now())
        # Under the same ARN, if there is one, so that the load balancers take the new certificate by themselves.
        same: dict[str, Any] = {} if found is None else {"CertificateArn": found.arn}
        with calling("acm", "ImportCertificate"):
            arn = self.aws.acm.import_certificate(
                Certificate=issued.certificate,
                PrivateKey=issued.key,
                CertificateChain=issued.authority.encode(),
                **same,
            )["CertificateArn"]
        with calling("acm", "AddTagsToCertificate"):
            # An import under a known ARN takes no tags; setting them afterwards is right for both.
            tags = {"setpoint:name": self.variables.name, OWNER_TAG: self.variables.name}
            self.aws.acm.add_tags_to_certificate(
                CertificateArn=arn, Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
            )
        return arn

    def _ends(self, found: Certificate) -> bool:
        return found.ends_at - self.now() < RENEWED_BEFORE

    def _host(self) -> str:
        zone = self.variables.values.get("internal_zone")
        return f"dispatcher.{zone if zone and zone != 'null' else self.variables.name + '.internal'}"

    def _files(self, certificate: Certificate | None) -> list[tuple[Path, str]]:
        backend = (
            f'bucket       = "{self.bucket}"\n'
            f'key          = "{self.variables.environment}/terraform.tfstate"\n'
            f'region       = "{self.aws.region}"\n'
            "use_lockfile = true\n"
        )
        given = {} if certificate is None else {"certificate_arn": certificate.arn, "api_ca_pem": certificate.authority}
        return [
            (self.root / BACKEND_FILE, backend),
            (self.root / BOOTSTRAP_FILE, json.dumps(given, indent=2) + "\n"),
        ]


def state_bucket(name: str, account: str) -> str:
    """Return the name of an environment's state bucket."""
    return f"{name}-state-{account}"


def _is_made(s3: S3Client, bucket: str) -> bool:
    """Tell whether the bucket is complete: its policy is what is written last."""
    with calling("s3", "GetBucketPolicy"):
        try:
            s3.get_bucket_policy(Bucket=bucket)
        except ClientError as error:
            if error_code(error) in _MISSING:
                return False
            if error_code(error) in _FOREIGN:
                said = f"bucket {bucket} cannot be read: it is another account's, or your role may not"
                raise Refused(said) from error
            raise
    return True


def _make_bucket(s3: S3Client, bucket: str, region: str) -> None:
    with calling("s3", "CreateBucket"):
        try:
            if region == _FIRST_REGION:
                s3.create_bucket(Bucket=bucket)
            else:
                # The region's own type lists what boto3 knew when it was made.
                s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})  # type: ignore[typeddict-item]
        except ClientError as error:
            if error_code(error) != "BucketAlreadyOwnedByYou":
                raise
    with calling("s3", "PutBucketSettings"):
        s3.put_public_access_block(
            Bucket=bucket,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_bucket_encryption(
            Bucket=bucket,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}]
            },
        )
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(_tls_only(bucket)))


def _tls_only(bucket: str) -> dict[str, object]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def _find(acm: ACMClient, name: str) -> Certificate | None:
    with calling("acm", "ListCertificates"):
        for page in acm.get_paginator("list_certificates").paginate():
            for summary in page["CertificateSummaryList"]:
                arn = summary.get("CertificateArn", "")
                tags = acm.list_tags_for_certificate(CertificateArn=arn)["Tags"]
                if any(tag["Key"] == OWNER_TAG and tag.get("Value") == name for tag in tags):
                    return _describe(acm, arn)
    return None


def _describe(acm: ACMClient, arn: str) -> Certificate:
    with calling("acm", "GetCertificate"):
        found = acm.get_certificate(CertificateArn=arn)
    certificate = x509.load_pem_x509_certificate(found["Certificate"].encode())
    return Certificate(arn, found.get("CertificateChain", ""), certificate.not_valid_after_utc)


def _says(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
