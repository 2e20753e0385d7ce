# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""How Talk and the HPB authenticate to each other: hex HMAC-SHA256(shared secret, random + body) in two headers."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping

RANDOM_HEADER = "Spreed-Signaling-Random"
CHECKSUM_HEADER = "Spreed-Signaling-Checksum"
BACKEND_HEADER = "Spreed-Signaling-Backend"

#: Talk refuses shorter randoms.
SHORTEST_RANDOM = 32


def checksum(secret: str, random: str, body: bytes) -> str:
    return hmac.new(secret.encode(), random.encode() + body, hashlib.sha256).hexdigest()


def sign(secret: str, body: bytes) -> dict[str, str]:
    random = secrets.token_hex(32)
    return {RANDOM_HEADER: random, CHECKSUM_HEADER: checksum(secret, random, body)}


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    random = headers.get(RANDOM_HEADER, "")
    if len(random) < SHORTEST_RANDOM:
        return False
    return hmac.compare_digest(checksum(secret, random, body), headers.get(CHECKSUM_HEADER, "").lower())
