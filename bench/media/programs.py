# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The generator's audio: speech, encoded once as browsers do (Opus, 20 ms, 32 kbit/s, audio levels of RFC 6464)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sandbox import recording
from sandbox.caller.opus_encoder import OpusEncoder
from sandbox.caller.speech import CLOCK_RATE, FRAME_TICKS, SILENCE, OpusPacket, level_of, room_noise
from sandbox.recording import Recording

#: 20 ms of sending: a packet, or nothing (discontinuous transmission).
Step: TypeAlias = OpusPacket | None
Program: TypeAlias = Sequence[Step]

#: What browsers put in-band FEC in for: they follow the loss that the receiver reports.
EXPECTED_LOSS_PERCENT = 10
#: Kept around each stretch of speech where pauses are cut out, in seconds.
_MARGIN_S = 0.12
#: Opus packets of so many bytes hold nothing (RFC 6716, section 2.1.9).
_DTX_BYTES = 2


def encode(samples: npt.NDArray[np.float32], *, expected_loss_percent: int = 0, dtx: bool = False) -> list[Step]:
    """Mono float samples at 48 kHz. With `dtx` the first packet of a silence is sent and the others are not, as WebRTC does."""
    encoder = OpusEncoder(bitrate=32_000, fec=True, expected_loss_percent=expected_loss_percent, dtx=dtx)
    steps: list[Step] = []
    silent = False
    for start in range(0, len(samples) - FRAME_TICKS + 1, FRAME_TICKS):
        piece = samples[start : start + FRAME_TICKS]
        payload = encoder.encode(piece)
        was_silent, silent = silent, len(payload) <= _DTX_BYTES
        steps.append(None if silent and was_silent else OpusPacket(payload, level_of(piece)))
    return steps


def has_fec(payload: bytes) -> bool:
    """Whether a packet of one mono frame up to 20 ms has a copy of the previous frame (RFC 6716, sections 3.1 and 4.2.4)."""
    celt = payload[0] & 0x80
    return len(payload) > 1 and not celt and bool(payload[1] & 0x40)


def without_pauses(recorded: Recording) -> npt.NDArray[np.float32]:
    """Only the stretches in which somebody speaks (pauses under 0.3 s stay), float32 at 48 kHz."""
    samples = recorded.pcm(CLOCK_RATE)
    stretches = [
        (max(0, int((start_s - _MARGIN_S) * CLOCK_RATE)), int((end_s + _MARGIN_S) * CLOCK_RATE))
        for utterance in recorded.utterances
        for start_s, end_s in utterance.speech
    ]
    return np.concatenate([samples[start:end] for start, end in stretches])


def program(name: str) -> Program:
    """`talk` (speech without pauses), `talk-fec`, `dtx` (speech with its pauses, discontinuous), `silence` (a muted track),
    `room` (the noise of a silent person's room), or the name of a recording, whole and with FEC.
    """
    match name:
        case "talk":
            return encode(without_pauses(recording.load("en-conference")))
        case "talk-fec":
            return encode(without_pauses(recording.load("en-conference")), expected_loss_percent=EXPECTED_LOSS_PERCENT)
        case "dtx":
            return encode(recording.load("en-conference").pcm(CLOCK_RATE), dtx=True)
        case "silence":
            return [SILENCE] * 50
        case "room":
            return list(room_noise().packets)
        case _:
            return encode(recording.load(name).pcm(CLOCK_RATE), expected_loss_percent=EXPECTED_LOSS_PERCENT)
