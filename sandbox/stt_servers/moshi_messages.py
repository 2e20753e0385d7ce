# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""moshi-server's messages: msgpack maps whose key `type` names the variant (`asr.rs` of moshi-server in kyutai-labs/moshi).

The real server reads with serde: unknown keys are ignored, a missing or mistyped one fails, and so does an unknown `type`. A
message may also be an array, its type first (`["Marker", 7]`), and what follows it in the same frame is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import msgpack
import numpy as np

from live_transcription.types import Frame


@dataclass(frozen=True, slots=True)
class Audio:
    """`pcm`: any length. Each message is one step's worth at most, however long it is."""

    pcm: Frame


@dataclass(frozen=True, slots=True)
class Marker:
    """Sent both ways: the server returns it once the audio before it has been transcribed (see `sandbox.stt_servers.model`)."""

    id: int


@dataclass(frozen=True, slots=True)
class Init:
    """Starts a session on its channel; the server sends it to itself."""


@dataclass(frozen=True, slots=True)
class Ready:
    pass


@dataclass(frozen=True, slots=True)
class Word:
    text: str = field(repr=False)
    start_time: float


@dataclass(frozen=True, slots=True)
class EndWord:
    stop_time: float


@dataclass(frozen=True, slots=True)
class Step:
    """`step_idx` counts the server's steps, not the session's; `buffered_pcm` samples wait; `prs`: the four pause heads."""

    step_idx: int
    prs: tuple[float, ...]
    buffered_pcm: int


@dataclass(frozen=True, slots=True)
class Error:
    message: str


Incoming: TypeAlias = Init | Audio | Marker
Outgoing: TypeAlias = Ready | Word | EndWord | Step | Marker | Error


class BadMessage(Exception):
    """The real server's deserialiser would fail on it."""


def pack(message: Outgoing) -> bytes:
    match message:
        case Ready():
            fields: dict[str, object] = {"type": "Ready"}
        case Word():
            fields = {"type": "Word", "text": message.text, "start_time": message.start_time}
        case EndWord():
            fields = {"type": "EndWord", "stop_time": message.stop_time}
        case Step():
            fields = {
                "type": "Step",
                "step_idx": message.step_idx,
                "prs": list(message.prs),
                "buffered_pcm": message.buffered_pcm,
            }
        case Marker():
            fields = {"type": "Marker", "id": message.id}
        case Error():
            fields = {"type": "Error", "message": message.message}
    return cast("bytes", msgpack.packb(fields))


def unpack(message: bytes) -> Incoming:
    """Raises BadMessage."""
    unpacker = msgpack.Unpacker(object_pairs_hook=_without_repetition, max_buffer_size=max(1, len(message)))
    unpacker.feed(message)
    try:
        content = unpacker.unpack()
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise BadMessage(f"no msgpack: {type(error).__name__}") from error
    match content:
        case {"type": "Init"} | ["Init"]:
            return Init()
        case {"type": "Marker", "id": number} | ["Marker", number] if type(number) is int and -(2**63) <= number < 2**63:
            return Marker(number)
        case {"type": "Audio", "pcm": list(pcm)} | ["Audio", list(pcm)] if {*map(type, pcm)} <= {int, float}:
            with np.errstate(over="ignore"):
                return Audio(np.array(pcm, dtype=np.float64).astype(np.float32))
    raise BadMessage("unknown type, or a field is missing or mistyped")


def _without_repetition(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key is repeated")
    return fields
