# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Recognise audio that Talk's clients encrypt end to end, and keep it from the decoder. Pure: packets in, packets out.

The SDP of an encrypted call is the same as that of any other call. Only the payloads differ: the client encrypts each Opus
packet before it is sent (`JitsiEncryptionWorkerContext.js` of Talk):

    1 octet     the first octet of the Opus packet (TOC), in plain
    n octets    the rest, encrypted with AES-GCM, and its tag of 16 octets
    12 octets   the initialisation vector: 4 octets SSRC, 4 octets RTP timestamp (native clients: 0), 4 octets counter
    1 octet     the length of the initialisation vector: 12
    1 octet     the index of the key: 0 to 15

The last 14 octets are the trailer. Its SSRC is the sender's own, which the SFU may have replaced in the RTP header, and its
counter increases with each packet. Three packets with consecutive trailers are proof: random payloads pass this test
with a probability below 2^-100.

The decision is made for each track, since people who dial in by phone are not encrypted, and since a client sends plain packets
until it has a key. Signaling does not count: clients also announce encryption by a message (`encryption.start`), but any guest
can send such a message and would affect others, whereas a false trailer affects only the track of its sender.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from live_transcription.types import AudioGap, AudioPacket

Item: TypeAlias = AudioPacket | AudioGap

#: Number of packets with consecutive trailers after which the track counts as encrypted.
ENCRYPTED_AFTER = 3
#: Number of consecutive packets without a trailer that refute a suspicion. Fewer than one ordinary packet in 4,096 ends like
#: a trailer; it and the next two wait for this decision, 60 ms at most.
REFUTED_AFTER = 3
#: Number of consecutive packets without a trailer, half a second of speech, after which an encrypted track counts as plain
#: again. They are kept until then, so no word is lost. Even if a third of the packets were plain, so many in a row would occur
#: once in centuries.
PLAIN_AFTER = 25

_TAG_OCTETS = 16
_IV_OCTETS = 12
#: Talk numbers its keys with four bits.
_KEYS = 16
#: Octets that encryption adds to an Opus packet, which has at least one.
OVERHEAD_OCTETS = _TAG_OCTETS + _IV_OCTETS + 2
#: The counter of Talk's web client restarts at 0 after this value minus one.
_COUNTER_MODULUS = 0xFFFF
#: Highest difference of the counters of two received packets: 20 s of lost packets or of silence that the socket dropped.
_MAX_STEP = 1_000
#: Limit of items that wait for a decision. A packet comes with up to three gaps.
_MAX_WAITING = 4 * PLAIN_AFTER


def has_trailer(payload: bytes) -> bool:
    """Return whether a payload ends like one that Talk has encrypted. Fewer than one ordinary payload in 4,096 does."""
    return len(payload) > OVERHEAD_OCTETS and payload[-2] == _IV_OCTETS and payload[-1] < _KEYS


class _Trailer(NamedTuple):
    ssrc: bytes
    counter: int

    @classmethod
    def of(cls, payload: bytes) -> _Trailer:
        return cls(payload[-14:-10], int.from_bytes(payload[-6:-2]))

    def follows(self, previous: _Trailer) -> bool:
        """Whether the same sender made this trailer soon after the previous one."""
        return self.ssrc == previous.ssrc and 0 < (self.counter - previous.counter) % _COUNTER_MODULUS <= _MAX_STEP


class EncryptionFilter:
    """Passes on the plain audio of one track, in order, and drops what is end-to-end encrypted."""

    def __init__(self) -> None:
        #: Whether the track is encrypted at present.
        self.encrypted = False
        # Items that the next packets decide on.
        self._waiting: deque[Item] = deque()
        # The last trailer, the number of trailers up to it that follow on one another, and the packets without one since then.
        self._trailer: _Trailer | None = None
        self._agreeing = 0
        self._plain = 0

    def push(self, item: Item) -> Sequence[Item]:
        """Take the next packet or gap in sequence order. Returns the items to process now."""
        payload = item.payload if isinstance(item, AudioPacket) else item.fec_payload
        marked = payload is not None and has_trailer(payload)
        # Nearly all packets of a plain track take this path.
        if not (marked or self._waiting or self.encrypted):
            return (item,)
        if self.encrypted:
            return self._may_be_plain(item, marked=marked)
        return self._may_be_encrypted(item, marked=marked)

    def flush(self) -> Sequence[Item]:
        """Return the items of a plain track that wait for a decision, since no packet will follow."""
        return () if self.encrypted else self._release()

    def _may_be_encrypted(self, item: Item, *, marked: bool) -> Sequence[Item]:
        """A packet ended like a trailer: nothing is passed on until the next packets confirm or refute that it was one."""
        self._waiting.append(item)
        # A gap comes right before the packet that decides. The copy of a lost frame in it (FEC) would be cipher text, too.
        if isinstance(item, AudioPacket):
            if marked:
                trailer = _Trailer.of(item.payload)
                follows = self._trailer is not None and trailer.follows(self._trailer)
                self._trailer = trailer
                self._agreeing = self._agreeing + 1 if follows else 1
                self._plain = 0
            else:
                self._plain += 1
            if self._agreeing >= ENCRYPTED_AFTER:
                self.encrypted = True
                self._release()
                return ()
        if self._plain >= REFUTED_AFTER or len(self._waiting) >= _MAX_WAITING:
            return self._release()
        return ()

    def _may_be_plain(self, item: Item, *, marked: bool) -> Sequence[Item]:
        """The track is encrypted. Packets without a trailer wait until there are enough of them in a row."""
        if isinstance(item, AudioGap):
            if self._waiting and len(self._waiting) < _MAX_WAITING:
                self._waiting.append(item)
            return ()
        if marked:
            self._release()
            return ()
        self._waiting.append(item)
        self._plain += 1
        if self._plain < PLAIN_AFTER:
            return ()
        self.encrypted = False
        return self._release()

    def _release(self) -> Sequence[Item]:
        """Return the waiting items; the next packet begins a new decision."""
        items, self._waiting = self._waiting, deque()
        self._trailer = None
        self._agreeing = self._plain = 0
        return items
