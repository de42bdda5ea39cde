"""The evaluator that the tests of reach stand on decides as IAM does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.terraform.tf_policies import allows

BUCKET = "arn:aws:s3:::data"
ALLOW: dict[str, Any] = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{BUCKET}/cold/*"]}
DENY: dict[str, Any] = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
VIA_S3: dict[str, Any] = {"Condition": {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}}


@pytest.mark.parametrize(
    ("statements", "action", "resource", "context", "expected"),
    [
        pytest.param([ALLOW], "s3:GetObject", f"{BUCKET}/cold/a/b", {}, True, id="star matches slashes"),
        pytest.param([ALLOW], "S3:getobject", f"{BUCKET}/cold/a", {}, True, id="actions ignore case"),
        pytest.param([ALLOW], "s3:GetObject", f"{BUCKET}/Cold/a", {}, False, id="resources do not"),
        pytest.param([ALLOW], "s3:GetObjectAcl", f"{BUCKET}/cold/a", {}, False, id="no prefix match"),
        pytest.param([], "s3:GetObject", f"{BUCKET}/cold/a", {}, False, id="nothing is denied"),
        pytest.param([ALLOW, DENY], "s3:GetObject", f"{BUCKET}/cold/a", {}, False, id="deny wins"),
        pytest.param([ALLOW | VIA_S3], "s3:GetObject", f"{BUCKET}/cold/a", {}, False, id="condition fails"),
        pytest.param(
            [ALLOW | VIA_S3],
            "s3:GetObject",
            f"{BUCKET}/cold/a",
            {"kms:ViaService": "s3.us-east-1.amazonaws.com"},
            True,
            id="condition holds",
        ),
        pytest.param(
            [ALLOW, DENY | {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}],
            "s3:GetObject",
            f"{BUCKET}/cold/a",
            {},
            True,
            id="a deny of unknown condition is not counted on",
        ),
        pytest.param(
            [{"Effect": "Allow", "Action": "a:b", "Resource": "x-??????"}], "a:b", "x-1234567", {}, False, id="six only"
        ),
    ],
)
def test_allows(
    statements: list[dict[str, Any]], action: str, resource: str, context: dict[str, str], expected: bool
) -> None:
    assert allows(statements, action, resource, context) is expected
