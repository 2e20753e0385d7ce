# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import numpy as np
import pytest

from live_transcription.audio_store.budget import AudioBudget
from live_transcription.audio_store.opus_blocks import best_codec
from live_transcription.speaker.pending_speech import PendingSpeech, TimedAction
from live_transcription.types import SAMPLE_RATE, Frame
from live_transcription.vad.gate import CloseStream, Flush, GateAction, Speech

FRAME = 1920


def frame(number: int) -> Frame:
    return np.full(FRAME, number / 1000, np.float32)


def at(seconds: float, *actions: GateAction) -> list[TimedAction]:
    return [TimedAction(action, seconds) for action in actions]


def taken(pending: PendingSpeech) -> list[int | str]:
    """The numbers of the frames, and the names of the other actions."""
    return [
        round(float(timed.action.frames[0][0]) * 1000) if isinstance(timed.action, Speech) else type(timed.action).__name__
        for timed in pending.take()
    ]


def test_speech_and_flushes_come_back_in_order_and_other_actions_do_not() -> None:
    budget = AudioBudget()
    pending = PendingSpeech(10.0, budget=budget)
    assert not pending
    assert pending.add(at(0.16, Speech((frame(1), frame(2))), Flush(), CloseStream())) == 0
    pending.add(at(0.24, Speech((frame(3),)), Flush(), Flush()))
    assert pending
    assert taken(pending) == [1, 2, "Flush", 3, "Flush"]
    assert not pending
    assert budget.used_bytes == 0


def test_a_flush_whose_speech_was_taken_comes_back_alone() -> None:
    pending, next_pending = PendingSpeech(10.0), PendingSpeech(10.0)
    pending.add(at(0.08, Speech((frame(1),)), Flush()))
    next(pending.take())
    rest = [*pending.take()]
    next_pending.add(rest)
    assert [*next_pending.take()] == rest == at(0.08, Flush())


def test_speech_that_was_not_taken_stays() -> None:
    pending = PendingSpeech(10.0)
    pending.add(at(0.24, Speech((frame(1), frame(2), frame(3)))))
    next(pending.take())
    pending.add(at(0.32, Speech((frame(4),))))
    assert taken(pending) == [2, 3, 4]


def test_the_oldest_speech_is_dropped_and_counted() -> None:
    pending = PendingSpeech(0.8)
    assert sum(pending.add(at(number * 0.08, Speech((frame(number),)))) for number in range(25)) == 15 * FRAME
    assert taken(pending) == list(range(15, 25))


def test_each_frame_comes_back_with_the_time_at_which_it_was_spoken() -> None:
    pending = PendingSpeech(10.0)
    pending.add(at(100.0, Speech((frame(1), frame(2))), Flush()))
    pending.add(at(130.0, Speech((frame(3),))))
    assert [timed.at for timed in pending.take()] == pytest.approx([99.92, 100.0, 100.0, 130.0], abs=0.001)


def test_a_lossy_codec_keeps_samples_within_bounds() -> None:
    """The copy of speech that was clipped at the microphone overshoots, and would wrap around as integers."""
    time = np.arange(FRAME * 100) / SAMPLE_RATE
    loud = np.clip(1.8 * np.sin(2 * np.pi * 180 * time), -1, 1).astype(np.float32)
    pending = PendingSpeech(10.0, codec=best_codec())
    pending.add(at(8.0, *(Speech((loud[start : start + FRAME],)) for start in range(0, len(loud), FRAME))))
    frames = [frame for timed in pending.take() if isinstance(timed.action, Speech) for frame in timed.action.frames]
    assert len(frames) == 100
    assert max(float(np.abs(frame).max()) for frame in frames) <= 1.0


def test_two_minutes_take_less_than_a_megabyte() -> None:
    budget = AudioBudget()
    pending = PendingSpeech(120.0, codec=best_codec(), budget=budget)
    noise = np.random.default_rng(1).normal(0, 0.1, FRAME).astype(np.float32)
    for number in range(2000):
        pending.add(at(number * 0.08, Speech((noise,))))
    assert 100_000 < budget.used_bytes < 1_000_000
