# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""moshi-server's native messages: msgpack maps with the key `type`. Pure; reading is tolerant and never raises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgpack
import numpy as np

from live_transcription.types import Frame

#: Longest text of one word, in characters.
TEXT_LIMIT = 1000
#: Largest message that is looked into, in bytes; a step's has a hundred.
MESSAGE_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Ready:
    """A slot is ours and takes audio."""


@dataclass(frozen=True, slots=True)
class Word:
    """A whole word and where it begins, in seconds of the audio that the server was sent."""

    text: str = field(repr=False)
    start_s: float | None


@dataclass(frozen=True, slots=True)
class EndWord:
    """Where the last word ended; comes late, and not for every word."""

    stop_s: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """80 ms of audio were heard. `pause`: how likely the speaker has come to an end, in [0, 1]."""

    pause: float


@dataclass(frozen=True, slots=True)
class Marker:
    """Our marker came back."""

    id: int


@dataclass(frozen=True, slots=True)
class Error:
    """The server gives up on the session."""

    message: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """`kind` for a counter: `garbage`, `huge` or `unknown`."""

    kind: str


Reply: TypeAlias = Ready | Word | EndWord | Step | Marker | Error | Ignored


#: One sample as msgpack has it: the marker of a 32 bit float, and its bytes in network order.
_SAMPLE = np.dtype([("marker", "u1"), ("value", ">f4")])
_AUDIO_HEAD = bytes(msgpack.packb({"type": "Audio", "pcm": [0] * 16})[:-19])


def audio_message(chunk: Frame) -> bytes:
    """`Audio` of one chunk (float32, at most 65535 samples), its samples as 32 bit floats.

    The array is laid out by hand: through a Python list it would take ten times as long, for every 80 ms of every speaker.
    """
    samples = np.empty(len(chunk), _SAMPLE)
    samples["marker"] = 0xCA
    samples["value"] = chunk
    return b"".join((_AUDIO_HEAD, b"\xdc", len(chunk).to_bytes(2, "big"), samples.tobytes()))


def parse_message(message: str | bytes) -> Reply:
    """One message of the server."""
    if isinstance(message, str):
        return Ignored("garbage")
    if len(message) > MESSAGE_LIMIT:
        return Ignored("huge")
    try:
        reply = msgpack.unpackb(message, raw=False, strict_map_key=True, unicode_errors="replace")
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException):
        return Ignored("garbage")
    if not isinstance(reply, dict):
        return Ignored("garbage")
    return _reply(reply)


def _reply(reply: Mapping[str, object]) -> Reply:
    match reply:
        case {"type": "Ready"}:
            return Ready()
        case {"type": "Word", "text": str(text)}:
            return Word(text[:TEXT_LIMIT].replace("\x00", ""), _seconds(reply.get("start_time")))
        case {"type": "EndWord"}:
            return EndWord(_seconds(reply.get("stop_time")))
        case {"type": "Step"}:
            return Step(_pause(reply.get("prs")))
        case {"type": "Marker", "id": int(number)}:
            return Marker(number)
        case {"type": "Error"}:
            message = reply.get("message")
            return Error(message[:200] if isinstance(message, str) else "")
        case {"type": "Word" | "Marker"}:
            return Ignored("garbage")
        case {"type": str()}:
            return Ignored("unknown")
        case _:
            return Ignored("garbage")


def _seconds(value: object) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _pause(prs: object) -> float:
    """The third of the four heads; 0 where there is none."""
    if not isinstance(prs, Sequence) or isinstance(prs, (str, bytes)) or len(prs) < 3:
        return 0.0
    value = prs[2]
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0
