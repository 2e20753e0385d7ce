# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The format of a journal: encrypted records that are only ever appended. Pure; `storage` reads and writes the files.

    header   b"LTJ1", salt (16 bytes), check (16)
    record   length of nonce and ciphertext (4, big-endian), tag (16), nonce (12), ciphertext with its tag of 16 bytes

Two keys are derived from the app's secret and the salt (HKDF-SHA256, RFC 5869): one encrypts (AES-256-GCM with random nonces),
the other one authenticates the header and the lengths (HMAC-SHA256, cut to 16 bytes). Ciphertext and tag of a record are bound
to its number. So a changed, moved, repeated or removed record is found, except if the newest records are removed as a whole:
that looks like an earlier state of the file. A process that is killed while it writes leaves part of a record at the end, and a
machine that loses power may leave zeros there; both count as torn, which is no damage.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"LTJ1"
HEADER_BYTES = 36
#: Maximum bytes of a record's content; an utterance of the maximum length with its translation is smaller.
MAX_RECORD_BYTES = 1024 * 1024
_SALT_BYTES = _TAG_BYTES = 16
_NONCE_BYTES = 12
_LENGTH = struct.Struct(">I")
_NUMBER = struct.Struct(">Q")
_RECORD_HEADER_BYTES = _LENGTH.size + _TAG_BYTES


class WrongKey(Exception):
    """The header was written with another secret, or it is damaged."""


class _Keys:
    def __init__(self, secret: bytes, salt: bytes) -> None:
        keys = HKDF(SHA256(), 64, salt, b"live_transcription transcript journal 1").derive(secret)
        self.cipher = AESGCM(keys[:32])
        self._authentication = keys[32:]

    def tag(self, content: bytes) -> bytes:
        return hmac.digest(self._authentication, content, "sha256")[:_TAG_BYTES]


class JournalWriter:
    """Encrypts the records of one journal. `number`: how many records it has already."""

    def __init__(self, secret: bytes, salt: bytes, number: int = 0, *, random: Callable[[int], bytes] = os.urandom) -> None:
        self._keys = _Keys(secret, salt)
        self._salt = salt
        self._random = random
        self.number = number

    @classmethod
    def new(cls, secret: bytes) -> JournalWriter:
        return cls(secret, os.urandom(_SALT_BYTES))

    @property
    def header(self) -> bytes:
        start = MAGIC + self._salt
        return start + self._keys.tag(b"header" + start)

    def seal(self, content: bytes) -> bytes:
        """The next record. Call `sealed` when it is written; otherwise the next one takes its place."""
        if len(content) > MAX_RECORD_BYTES:
            raise ValueError("the record is too long")
        number, nonce = _NUMBER.pack(self.number), self._random(_NONCE_BYTES)
        body = nonce + self._keys.cipher.encrypt(nonce, content, number)
        length = _LENGTH.pack(len(body))
        return length + self._keys.tag(b"record" + number + length) + body

    def sealed(self) -> None:
        """The last record is part of the journal now."""
        self.number += 1


@dataclass(frozen=True, slots=True)
class Recovered:
    """The records of a journal. `size`: bytes up to the end of the last one. `damaged`: what follows is not just torn."""

    salt: bytes = field(repr=False)
    records: tuple[bytes, ...] = field(repr=False)
    size: int
    damaged: bool


def recover(content: bytes, secret: bytes) -> Recovered:
    """Read a journal up to its torn end or the first damage. Raises WrongKey."""
    if len(content) < HEADER_BYTES or not content.startswith(MAGIC):
        raise WrongKey
    salt = content[len(MAGIC) : len(MAGIC) + _SALT_BYTES]
    keys = _Keys(secret, salt)
    start = content[: len(MAGIC) + _SALT_BYTES]
    if not hmac.compare_digest(keys.tag(b"header" + start), content[len(start) : HEADER_BYTES]):
        raise WrongKey
    records: list[bytes] = []
    at, damaged = HEADER_BYTES, False
    while len(content) - at >= _RECORD_HEADER_BYTES:
        number, length = _NUMBER.pack(len(records)), content[at : at + _LENGTH.size]
        begin = at + _RECORD_HEADER_BYTES
        if not hmac.compare_digest(keys.tag(b"record" + number + length), content[at + _LENGTH.size : begin]):
            damaged = any(content[at:])
            break
        end = begin + _LENGTH.unpack(length)[0]
        if end > len(content):
            break
        body = content[begin:end]
        try:
            records.append(keys.cipher.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], number))
        except InvalidTag:
            damaged = True
            break
        at = end
    return Recovered(salt, tuple(records), at, damaged)
