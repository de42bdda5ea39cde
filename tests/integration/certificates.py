"""An authority of our own and a certificate that it signs, as an environment without a domain has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


def make(folder: Path, name: str) -> tuple[str, Path]:
    """Return an authority as PEM text, and a file with a certificate for `name` and its key."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the tests")])
    authority = _sign(issuer, issuer, authority_key.public_key(), authority_key, None)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = _sign(issuer, subject, key.public_key(), authority_key, name)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"{name}.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return authority.public_bytes(serialization.Encoding.PEM).decode(), file


def _sign(
    issuer: x509.Name,
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    key: ec.EllipticCurvePrivateKey,
    name: str | None,
) -> x509.Certificate:
    made = x509.CertificateBuilder().issuer_name(issuer).subject_name(subject).public_key(public)
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(_BEGIN).not_valid_after(_BEGIN + timedelta(days=365 * 50))
    made = made.add_extension(x509.BasicConstraints(ca=name is None, path_length=None), critical=True)
    if name is not None:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return made.sign(key, hashes.SHA256())
