# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Consent freshness (RFC 7675): its STUN requests and their answers. Pure.

Each request is a copy of one that was built once, with a new transaction id. So hundreds of idle peers cost little.
"""

from __future__ import annotations

import hmac
import secrets
import zlib
from collections import deque
from struct import Struct

#: Seconds between two requests, at least and at most; the time in between is random (section 5.1).
INTERVAL_S = (4.0, 6.0)
#: Seconds without an answer after which consent expires.
EXPIRES_S = 30.0

_HEADER_OCTETS = 20
_MESSAGE_INTEGRITY = 0x0008
_INTEGRITY_OCTETS = 24
_FINGERPRINT_OCTETS = 8
_FINGERPRINT_XOR = 0x5354_554E
_ATTRIBUTE = Struct("!HH")
_FINGERPRINT = Struct("!HHI")


class Consent:
    """The remote side's consent to receive.

    `request` is a binding request (RFC 8489) without MESSAGE-INTEGRITY and FINGERPRINT, `password` the remote ICE password.
    Times are in seconds.
    """

    def __init__(self, request: bytes, password: str, now: float) -> None:
        self._before_length, self._cookie, self._attributes = request[:2], request[4:8], request[_HEADER_OCTETS:]
        self._key = password.encode()
        self._given_at = now
        self._asked: deque[bytes] = deque(maxlen=8)

    @property
    def expires_at(self) -> float:
        """When consent expires. Nothing may be sent from then on."""
        return self._given_at + EXPIRES_S

    def expired(self, now: float) -> bool:
        """Return whether consent has expired."""
        return now >= self.expires_at

    def request(self) -> bytes:
        """Build a request with a new transaction id."""
        transaction = secrets.token_bytes(12)
        self._asked.append(transaction)
        rest = self._cookie + transaction + self._attributes
        length = len(self._attributes) + _INTEGRITY_OCTETS
        integrity = hmac.digest(self._key, self._before_length + length.to_bytes(2) + rest, "sha1")
        rest += _ATTRIBUTE.pack(_MESSAGE_INTEGRITY, len(integrity)) + integrity
        message = self._before_length + (length + _FINGERPRINT_OCTETS).to_bytes(2) + rest
        return message + _FINGERPRINT.pack(0x8028, 4, zlib.crc32(message) ^ _FINGERPRINT_XOR)

    def given(self, response: bytes, now: float) -> bool:
        """Process a STUN success response. Returns whether it is the authentic answer to one of our requests."""
        if response[8:_HEADER_OCTETS] not in self._asked or not self._authentic(response):
            return False
        self._asked.clear()
        self._given_at = now
        return True

    def _authentic(self, message: bytes) -> bool:
        position = _HEADER_OCTETS
        while position + _INTEGRITY_OCTETS <= len(message):
            kind, length = _ATTRIBUTE.unpack_from(message, position)
            if kind == _MESSAGE_INTEGRITY:
                covered = message[:2] + (position - _HEADER_OCTETS + _INTEGRITY_OCTETS).to_bytes(2) + message[4:position]
                value = message[position + 4 : position + _INTEGRITY_OCTETS]
                authentic = hmac.compare_digest(hmac.digest(self._key, covered, "sha1"), value)
                return authentic and length == _INTEGRITY_OCTETS - 4
            position += 4 + (length + 3) // 4 * 4
        return False
