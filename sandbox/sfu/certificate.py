# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The SFU's DTLS certificate: ECDSA as aiortc makes it, or RSA as many Janus installations have it."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import generate_certificate
from cryptography.hazmat.primitives.asymmetric import ec, rsa

CertificateKind: TypeAlias = Literal["ecdsa", "rsa"]

#: Both kinds, as OpenSSL's defaults in Janus have them. Which one serves depends on the certificate of the DTLS server.
_SUITES = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    b"ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA"
)


class SfuCertificate(RTCCertificate):
    """One certificate for all peers of an SFU, with one shared TLS context (making one costs milliseconds)."""

    _context: Any = None

    @classmethod
    def of_kind(cls, kind: CertificateKind) -> SfuCertificate:
        key: Any = rsa.generate_private_key(public_exponent=65537, key_size=2048) if kind == "rsa" else None
        if key is None:
            key = ec.generate_private_key(ec.SECP256R1())
        return cls(key=key, cert=generate_certificate(key))

    def _create_ssl_context(self, srtp_profiles: Any) -> Any:
        if self._context is None:
            self._context = super()._create_ssl_context(srtp_profiles)
            self._context.set_cipher_list(_SUITES)
        return self._context
