# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Tokens of a user's hello 2.0: a JWT (RFC 7519) that Nextcloud signs with Ed25519 (RFC 8037) and the HPB checks."""

from __future__ import annotations

import base64
import json
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

#: Seconds that Talk's tokens are valid.
LIFETIME_S = 60


def _segment(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


class HelloTokens:
    """Signs with a key of its own, which lives as long as the object."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> str:
        """PEM, as Talk's capability `config.signaling.hello-v2-token-key` gives it."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, issuer: str, user_id: str | None, display_name: str, *, now: float | None = None) -> str:
        """`issuer`: Nextcloud's base URL. A guest has no `user_id`."""
        issued = int(time.time() if now is None else now)
        claims: dict[str, object] = {"iss": issuer, "iat": issued, "exp": issued + LIFETIME_S}
        if user_id:
            claims |= {"sub": user_id, "userdata": {"displayname": display_name}}
        head = _segment(json.dumps({"typ": "JWT", "alg": "EdDSA"}).encode())
        signed = f"{head}.{_segment(json.dumps(claims).encode())}"
        return f"{signed}.{_segment(self._key.sign(signed.encode()))}"
