# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Plain values that several packages of the engine share. No behaviour beyond hiding secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

#: RTP clock of Opus in Hz (RFC 7587, section 4.1), whatever the rate of the decoded audio.
OPUS_CLOCK_RATE = 48_000

#: Sample rate in Hz of every `Frame` in the engine; Kyutai's models take 24 kHz mono.
SAMPLE_RATE = 24_000

#: The audio level of RFC 6464 that stands for digital silence, in -dBov.
DIGITAL_SILENCE = 127

#: Mono PCM, dtype float32, shape (samples,), 24 kHz, values in [-1, 1].
Frame: TypeAlias = npt.NDArray[np.float32]


class Secret:
    """Confidential text: `repr`, `str` and formatting print asterisks. Only `reveal()` returns the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('***')" if self._text else "Secret('')"

    __str__ = __repr__


@dataclass(slots=True)
class AudioPacket:
    """One RTP packet of a publisher's Opus audio, in sequence order.

    `timestamp` is the RTP timestamp (48 kHz clock, wraps at 2**32). `audio_level` is the level of RFC 6464 in -dBov, from 0
    (loud) to 127 (digital silence), None if the publisher does not send it.

    A packet never changes once it is passed on. It is not `frozen`, since that would quadruple the time to create it.
    """

    payload: bytes
    sequence_number: int
    timestamp: int
    audio_level: int | None = None


@dataclass(frozen=True, slots=True)
class AudioGap:
    """Time without packets, to be filled so that the timeline has no hole.

    `duration` is in RTP clock ticks (48 kHz). `lost` distinguishes packet loss, to be concealed, from silence of the sender
    (DTX, a mute, or digital silence that the socket's filter dropped), to be filled with silence. `fec_payload` is the packet
    that directly follows a lost one: Opus may carry a copy of the lost frame in it (RFC 6716, section 2.1.7).
    """

    duration: int
    lost: bool
    fec_payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server as Talk's signaling settings name it; TURN credentials are time-limited."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: Secret | None = None


@dataclass(frozen=True, slots=True)
class TurnAnswer:
    """A TURN server's answer to a request for a relay. `code`: STUN error code, 0 for success. `at`: event loop time."""

    code: int
    at: float


@dataclass(frozen=True, slots=True)
class Language:
    """A language of captions. `name`: in English. `native_name`: as its speakers write it. `separator`: between words. `rtl`:
    written from right to left.
    """

    code: str
    name: str
    native_name: str
    separator: str = " "
    rtl: bool = False


#: Seconds that a translation of a caption may take. After that, readers get the original.
TRANSLATION_DEADLINE_S = 4.0


@dataclass(frozen=True, slots=True)
class TranslationLanguages:
    """The languages that a provider translates from and to, by id. `targets` is empty while there is no provider."""

    origins: Mapping[str, Language] = field(default_factory=dict)
    targets: Mapping[str, Language] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Caption:
    """Committed words of one speaker, as sent to Talk: whole words, each sent once and never revised."""

    speaker: str
    text: str = field(repr=False)
    language: str
