# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Certificates that no system trusts, for servers on this machine."""

from __future__ import annotations

import ssl
from ipaddress import IPv4Address
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.rig import certificate as certificates


def self_signed(path: Path) -> ssl.SSLContext:
    """A server's context for 127.0.0.1. `path` gets key and certificate, so a client can trust that file."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = certificates.self_signed(key, "signaling.example.com", [IPv4Address("127.0.0.1")])
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
