# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""moshi-server's messages: msgpack maps whose key `type` names the variant (`asr.rs` of moshi-server in kyutai-labs/moshi).

The real server reads with serde: unknown keys are ignored, a missing or mistyped one fails, and so does an unknown `type`.
"""

from __future__ import annotations

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
    """Goes both ways: comes back when the audio before it has been heard (see `sandbox.stt_servers.model`)."""

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
    try:
        fields = msgpack.unpackb(message, max_array_len=2**21)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise BadMessage(f"no msgpack: {type(error).__name__}") from error
    if not isinstance(fields, dict):
        raise BadMessage("not a map")
    match fields.get("type"):
        case "Init":
            return Init()
        case "Marker" if isinstance(fields.get("id"), int):
            return Marker(fields["id"])
        case "Audio" if isinstance(fields.get("pcm"), list):
            try:
                return Audio(np.array(fields["pcm"], dtype=np.float32))
            except (TypeError, ValueError) as error:
                raise BadMessage("pcm is no array of numbers") from error
    raise BadMessage("unknown type, or a field is missing")
