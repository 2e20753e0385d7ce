# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The messages of moshi-server's native protocol: msgpack maps with the key `type`. Pure; parsing never raises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgpack
import numpy as np

from live_transcription.stt.kyutai.parsing import MESSAGE_LIMIT, IgnoredReply, seconds, spoken
from live_transcription.types import Frame


@dataclass(frozen=True, slots=True)
class Ready:
    """The server has a free slot for this session and accepts audio."""


@dataclass(frozen=True, slots=True)
class Word:
    """A whole word and its start, in seconds of the audio that the server received."""

    text: str = field(repr=False)
    start_s: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """The server has transcribed 80 ms of audio. `pause` is the probability that the speaker has finished, in [0, 1]."""

    pause: float


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker of ours, after the server has transcribed more audio since then than its delay."""

    id: int


@dataclass(frozen=True, slots=True)
class Error:
    """The server gives up the session."""

    message: str


#: None: a message of the protocol that we do not need (`EndWord`).
Reply: TypeAlias = Ready | Word | Step | Marker | Error | IgnoredReply | None


#: One sample in msgpack: the marker of a 32-bit float, and its bytes in network order.
_SAMPLE = np.dtype([("marker", "u1"), ("value", ">f4")])
_AUDIO_HEAD = bytes(msgpack.packb({"type": "Audio", "pcm": [0] * 16})[:-19])


def audio_message(chunk: Frame) -> bytes:
    """Encode an `Audio` message with the samples of a chunk (float32, at most 65535 samples) as 32-bit floats.

    numpy lays the array out. Through a Python list, encoding would take ten times as long.
    """
    samples = np.empty(len(chunk), _SAMPLE)
    samples["marker"] = 0xCA
    samples["value"] = chunk
    return b"".join((_AUDIO_HEAD, b"\xdc", len(chunk).to_bytes(2, "big"), samples.tobytes()))


def marker_message(marker: Marker) -> bytes:
    """Encode a marker, which the server sends back."""
    return bytes(msgpack.packb({"type": "Marker", "id": marker.id}))


def parse_message(message: str | bytes) -> Reply:
    """Parse one message of the server."""
    if len(message) > MESSAGE_LIMIT:
        return IgnoredReply("huge")
    if isinstance(message, str):
        return IgnoredReply("garbage")
    try:
        reply = msgpack.unpackb(message, raw=False, strict_map_key=True, unicode_errors="replace")
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException):
        return IgnoredReply("garbage")
    return _reply(reply) if isinstance(reply, dict) else IgnoredReply("garbage")


def _reply(reply: Mapping[str, object]) -> Reply:
    match reply:
        case {"type": "Ready"}:
            return Ready()
        case {"type": "Word", "text": str(text)}:
            return Word(spoken(text), seconds(reply.get("start_time")))
        case {"type": "Step"}:
            return Step(_pause(reply.get("prs")))
        case {"type": "Marker", "id": int(number)}:
            return Marker(number)
        case {"type": "EndWord"}:
            return None
        case {"type": "Error"}:
            message = reply.get("message")
            return Error(message[:200] if isinstance(message, str) else "")
        case {"type": str(kind)} if kind not in ("Word", "Marker"):
            return IgnoredReply("unknown")
        case _:
            return IgnoredReply("garbage")


def _pause(probabilities: object) -> float:
    """The third of the model's four pause heads; 0 if there is none."""
    if not isinstance(probabilities, Sequence) or isinstance(probabilities, (str, bytes)) or len(probabilities) < 3:
        return 0.0
    value = probabilities[2]
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0
