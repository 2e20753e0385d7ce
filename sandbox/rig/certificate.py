# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Self-signed certificates; for Janus's DTLS with ECDSA (P-256) or RSA (2048)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

CertificateKind = Literal["ecdsa", "rsa"]


def self_signed(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    common_name: str,
    addresses: Sequence[IPv4Address | IPv6Address] = (),
) -> x509.Certificate:
    """A certificate for 30 days. `addresses`: the subject's alternative names, if there are any."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
    )
    if addresses:
        names = x509.SubjectAlternativeName([x509.IPAddress(address) for address in addresses])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256())


def write_certificate(directory: Path, kind: CertificateKind) -> tuple[Path, Path]:
    """Write certificate and key as PEM. Returns their paths."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else rsa.generate_private_key(65537, 2048)
    certificate = self_signed(key, "rig")
    certificate_path, key_path = directory / f"{kind}.crt", directory / f"{kind}.key"
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key_path.chmod(0o600)
    return certificate_path, key_path
