"""The certificate of an environment without a domain is one that clients accept."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from controller.deploy.certificate import LIFETIME, issue

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NAME = "dispatcher.setpoint-dev.internal"


def test_a_client_that_trusts_the_authority_accepts_it() -> None:
    issued = issue(NAME, NOW)
    authority, certificate = (
        x509.load_pem_x509_certificate(pem) for pem in (issued.authority.encode(), issued.certificate)
    )
    certificate.verify_directly_issued_by(authority)
    assert certificate.not_valid_before_utc < NOW < NOW + LIFETIME == certificate.not_valid_after_utc
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]
    ssl.create_default_context(cadata=issued.authority)


def test_the_key_is_the_certificates_and_no_authority() -> None:
    issued = issue(NAME, NOW)
    certificate = x509.load_pem_x509_certificate(issued.certificate)
    key = load_pem_private_key(issued.key, None)
    assert key.public_key() == certificate.public_key()
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_authority_fits_into_a_functions_environment() -> None:
    assert len(issue(NAME, NOW).authority) < 3000
