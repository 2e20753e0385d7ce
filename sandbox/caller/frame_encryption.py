# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""End-to-end encryption of Opus packets as in Talk's clients, with real AES-GCM.

The frame: first octet of the Opus packet (TOC), cipher text, tag, initialisation vector, its length, index of the key.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_IV_OCTETS = 12
#: The web client's counter has 0xFFFF values, not 0x10000.
_COUNTER_MODULUS = 0xFFFF


@dataclass
class FrameEncryption:
    """One sender's key and counter. `plain_share`: share of the packets that stay plain, drawn with `seed`.

    `native`: the initialisation vector has no timestamp, and its counter has 64 bits, as in clients without a browser.
    """

    seed: int = 0
    key_index: int = 0
    native: bool = False
    plain_share: float = 0.0
    ssrc: int = field(init=False)
    counter: int = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.ssrc = self._random.getrandbits(32)
        self.counter = self._random.randrange(_COUNTER_MODULUS)
        self.change_key()

    def change_key(self, key_index: int | None = None) -> None:
        """Use a new key from the next packet on, as after a participant has left."""
        self._cipher = AESGCM(self._random.randbytes(16))
        self.key_index = self.key_index if key_index is None else key_index % 16

    def encrypt(self, payload: bytes, timestamp: int) -> bytes:
        """Encrypt one Opus packet of at least one octet with this RTP timestamp."""
        if self.plain_share and self._random.random() < self.plain_share:
            return payload
        if self.native:
            iv = struct.pack("!IQ", self.ssrc, self.counter)
        else:
            iv = struct.pack("!III", self.ssrc, timestamp & 0xFFFF_FFFF, self.counter % _COUNTER_MODULUS)
        self.counter += 1
        toc = payload[:1]
        return toc + self._cipher.encrypt(iv, payload[1:], toc) + iv + bytes((_IV_OCTETS, self.key_index))
