# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Authentication of the hello: the internal client's HMAC, and a user's JWT (RFC 7519) signed by Nextcloud."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sandbox.hpb.errors import Refusal

#: Shorter randoms are refused whatever their HMAC.
SHORTEST_RANDOM = 32
_LEEWAY_S = 300
_HASHES: dict[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}


def check_internal(secret: str, random: str, token: str) -> None:
    """Raises Refusal: `invalid_client_type` where the server has no internal secret, else `invalid_token`."""
    if not secret:
        raise Refusal("invalid_client_type")
    wanted = hmac.new(secret.encode(), random.encode(), hashlib.sha256).hexdigest()
    if len(random) < SHORTEST_RANDOM or not hmac.compare_digest(wanted, token):
        raise Refusal("invalid_token")


def check_user(token: str, key: str, now: float) -> dict[str, Any]:
    """The claims of a hello 2.0 token. `key`: PEM, or an Ed25519 key's bytes as base64. Raises Refusal."""
    try:
        signed, _, signature = token.rpartition(".")
        head, _, body = signed.partition(".")
        algorithm = json.loads(_decode(head))["alg"]
        _verify(str(algorithm), key, signed.encode(), _decode(signature))
        claims = json.loads(_decode(body))
        issued, expires = float(claims["iat"]), float(claims["exp"])
    except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise Refusal("invalid_token") from error
    if issued > now + _LEEWAY_S:
        raise Refusal("token_not_valid_yet")
    if expires < now - _LEEWAY_S or expires < issued:
        raise Refusal("token_expired")
    return dict(claims)


def _decode(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def _verify(algorithm: str, key: str, signed: bytes, signature: bytes) -> None:
    if algorithm == "EdDSA" and not key.startswith("-----BEGIN"):
        ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(key)).verify(signature, signed)
        return
    public = load_pem_public_key(key.encode())
    if algorithm == "EdDSA" and isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(signature, signed)
    elif algorithm.startswith("RS") and isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, signed, padding.PKCS1v15(), _HASHES[algorithm[2:]]())
    elif algorithm.startswith("ES") and isinstance(public, ec.EllipticCurvePublicKey):
        half = len(signature) // 2
        r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(_HASHES[algorithm[2:]]()))
    else:
        raise ValueError("algorithm and key do not fit")
