# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Plain values that more than one room of the engine speaks of. No behaviour beyond hiding secrets."""

from __future__ import annotations

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
    """Text that never shows itself: `repr`, `str` and formatting print stars. `reveal()` is the only way to it."""

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
    """One RTP packet of a speaker's Opus audio, in sequence order. Never changed once handed on; not `frozen`, which takes
    four times as long.

    `timestamp` is the RTP timestamp (48 kHz clock, wraps at 2**32); `audio_level` the RFC 6464 level in -dBov
    (0 loud … 127 digital silence), None where the publisher does not send it. `skipped`: packets of digital silence right
    before this one that nobody waited for (`webrtc.silence_filter`).
    """

    payload: bytes
    sequence_number: int
    timestamp: int
    audio_level: int | None = None
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class AudioGap:
    """Time without packets that has to be filled so that the timeline stays whole.

    `duration` in RTP clock ticks (48 kHz). `lost` tells packet loss (conceal it) from a sender's silence such as
    DTX or a mute (fill it with silence). `fec_payload` is the packet that follows a lost one: Opus may carry
    a copy of the lost frame in it (RFC 6716, section 2.1.7).
    """

    duration: int
    lost: bool
    fec_payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """Audio that was decoded already, in order and without holes: by the stock receive path.

    `samples` int16 of shape (samples, channels), at `sample_rate` Hz.
    """

    samples: npt.NDArray[np.int16]
    sample_rate: int


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
    """A language that calls can be captioned in; the form Talk's `/languages` wants is made in `ex_app`."""

    code: str
    name: str
    separator: str = " "
    rtl: bool = False


@dataclass(frozen=True, slots=True)
class Caption:
    """Committed words of one speaker, as they go to Talk: whole words that were not sent before and are never revised."""

    speaker: str
    text: str = field(repr=False)
    language: str
