# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import numpy as np

from live_transcription.audio_store.opus_blocks import best_codec
from live_transcription.speaker.pending_speech import HeldSpeech
from live_transcription.types import Frame
from live_transcription.vad.gate import CloseStream, Flush, Speech

FRAME = 1920


def frame(number: int) -> Frame:
    return np.full(FRAME, number / 1000, np.float32)


def told(held: HeldSpeech) -> list[int | str]:
    return [round(float(a.frames[0][0]) * 1000) if isinstance(a, Speech) else type(a).__name__ for a in held.take()]


def test_gives_speech_and_flushes_back_in_order_and_nothing_else() -> None:
    held = HeldSpeech(10.0)
    assert held.add([Speech((frame(1), frame(2))), Flush(), CloseStream()]) == 0
    held.add([Speech((frame(3),)), Flush(), Flush()])
    assert told(held) == [1, 2, "Flush", 3, "Flush"]
    assert not len(held)
    assert held.memory_bytes == 0


def test_what_was_not_taken_is_still_held() -> None:
    held = HeldSpeech(10.0)
    held.add([Speech((frame(1), frame(2), frame(3)))])
    next(held.take())
    held.add([Speech((frame(4),))])
    assert told(held) == [2, 3, 4]


def test_the_oldest_goes_and_is_counted() -> None:
    held = HeldSpeech(0.8)
    assert sum(held.add([Speech((frame(number),))]) for number in range(25)) == 15 * FRAME
    assert told(held) == list(range(15, 25))


def test_what_a_lossy_codec_makes_louder_stays_in_bounds() -> None:
    """Speech that was clipped at the microphone: its copy overshoots, and would wrap around where samples are integers."""
    time = np.arange(FRAME * 100) / 24_000
    loud = np.clip(1.8 * np.sin(2 * np.pi * 180 * time), -1, 1).astype(np.float32)
    held = HeldSpeech(10.0, codec=best_codec())
    held.add([Speech((loud[start : start + FRAME],)) for start in range(0, len(loud), FRAME)])
    heard = [frame for action in held.take() if isinstance(action, Speech) for frame in action.frames]
    assert len(heard) == 100
    assert max(float(np.abs(frame).max()) for frame in heard) <= 1.0


def test_two_minutes_take_less_than_a_megabyte() -> None:
    held = HeldSpeech(120.0, codec=best_codec())
    noise = np.random.default_rng(1).normal(0, 0.1, FRAME).astype(np.float32)
    for _ in range(2000):
        held.add([Speech((noise,))])
    assert held.memory_bytes < 1_000_000
