"""A certificate for an environment without a domain: signed by an authority of its own, whose key nobody keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from datetime import datetime

LIFETIME = timedelta(days=825)
"""The longest that common clients accept. A renewal comes with another authority, and who runs then trusts the old one until
it is replaced, so it should be rare."""
RENEWED_BEFORE = timedelta(days=30)
# What an ALB takes without further ado, and what every client checks: https://docs.aws.amazon.com/acm/latest/userguide/import-certificate-prerequisites.html
# ACM lists RSA keys of this size unless told otherwise.
_KEY_BITS = 2048
_EXPONENT = 65537
# A clock that is a little behind must not find the certificate not valid yet.
_LEEWAY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """PEM texts; the key goes to ACM and nowhere else."""

    certificate: bytes
    key: bytes
    authority: str


def issue(name: str, now: datetime) -> Issued:
    """Return a certificate for `name`; the authority signs this one and then no other, since its key is dropped."""
    authority_key = rsa.generate_private_key(_EXPONENT, _KEY_BITS)
    key = rsa.generate_private_key(_EXPONENT, _KEY_BITS)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Setpoint")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dispatcher")])
    authority = (
        _builder(issuer, issuer, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _builder(subject, issuer, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Issued(
        certificate.public_bytes(serialization.Encoding.PEM),
        private,
        authority.public_bytes(serialization.Encoding.PEM).decode(),
    )


def _builder(subject: x509.Name, issuer: x509.Name, public: rsa.RSAPublicKey, now: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LEEWAY)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
