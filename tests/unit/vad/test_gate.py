# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.types import SAMPLE_RATE, Frame
from live_transcription.vad.gate import (
    AlwaysSpeech,
    CloseStream,
    Flush,
    GateAction,
    GateLimits,
    OpenStream,
    SilenceGate,
    Speech,
)

FRAME_S = 0.08


class ScriptedDetector:
    """The first sample of a frame is its probability of speech."""

    def __init__(self) -> None:
        self.resets = 0

    def probability(self, frame: Frame) -> float:
        return float(frame[0])

    def reset(self) -> None:
        self.resets += 1


def frame(probability: float, serial: int = 0, duration_s: float = FRAME_S) -> Frame:
    """Return a frame with a serial number in its second sample."""
    samples = np.zeros(round(duration_s * SAMPLE_RATE), np.float32)
    samples[0], samples[1] = probability, serial
    return samples


def serials(actions: Iterable[GateAction]) -> list[int]:
    return [int(item[1]) for action in actions if isinstance(action, Speech) for item in action.frames]


def run(gate: SilenceGate, probabilities: Iterable[float], first: int = 0) -> list[GateAction]:
    return [action for n, p in enumerate(probabilities, first) for action in gate.push(frame(p, n))]


def kinds(actions: Iterable[GateAction]) -> list[str]:
    """Return the types of actions, without repeats of Speech."""
    names = [type(action).__name__ for action in actions]
    return [name for index, name in enumerate(names) if not (name == "Speech" and index and names[index - 1] == "Speech")]


def test_silence_and_a_click_open_no_stream() -> None:
    gate = SilenceGate(ScriptedDetector())
    assert run(gate, [0.0] * 50 + [0.9] + [0.0] * 50) == []
    assert gate.passed_s == 0
    assert gate.saved_s == pytest.approx(101 * FRAME_S)


def test_speech_is_sent_with_its_pre_roll_and_without_a_hole() -> None:
    gate = SilenceGate(ScriptedDetector())
    actions = run(gate, [0.0] * 50 + [0.9] * 10)
    assert kinds(actions) == ["OpenStream", "Speech"]
    sent = serials(actions)
    assert sent == list(range(sent[0], 60))
    pre_roll_s = (50 - sent[0]) * FRAME_S
    assert 0.3 <= pre_roll_s <= 0.6
    assert gate.passed_s == pytest.approx(len(sent) * FRAME_S)
    assert gate.saved_s == pytest.approx(sent[0] * FRAME_S)


def test_a_pause_flushes_and_the_next_word_uses_the_same_stream() -> None:
    gate = SilenceGate(ScriptedDetector())
    actions = run(gate, [0.0] * 10 + [0.9] * 10 + [0.0] * 30 + [0.9] * 5)
    assert kinds(actions) == ["OpenStream", "Speech", "Flush", "Speech"]


def test_speech_ends_between_500_and_600_ms_after_the_last_sound() -> None:
    gate = SilenceGate(ScriptedDetector())
    run(gate, [0.9] * 10)
    silent = 0
    while gate.speaking:
        run(gate, [0.0])
        silent += 1
    assert 0.5 <= silent * FRAME_S <= 0.6


def test_a_short_gap_between_words_does_not_end_speech() -> None:
    gate = SilenceGate(ScriptedDetector())
    actions = run(gate, [0.9] * 10 + [0.0] * 5 + [0.4] + [0.0] * 5 + [0.9])
    assert kinds(actions) == ["OpenStream", "Speech"]


def test_audio_before_a_flush_is_not_sent_again_as_pre_roll() -> None:
    gate = SilenceGate(ScriptedDetector())
    actions = run(gate, [0.9] * 10 + [0.0] * 8 + [0.9] * 5)
    sent = serials(actions)
    assert sent == sorted(set(sent))


def test_long_silence_closes_the_stream_once_and_speech_opens_another() -> None:
    gate = SilenceGate(ScriptedDetector(), GateLimits(close_s=20.0))
    actions = run(gate, [0.9] * 10 + [0.0] * 700)
    assert kinds(actions) == ["OpenStream", "Speech", "Flush", "CloseStream"]
    assert kinds(run(gate, [0.9] * 5)) == ["OpenStream", "Speech"]


def test_the_stream_stays_open_for_silence_within_the_limit() -> None:
    gate = SilenceGate(ScriptedDetector(), GateLimits(close_s=20.0))
    actions = run(gate, [0.9] * 10 + [0.0] * int(19 / FRAME_S) + [0.9] * 5)
    assert not any(isinstance(action, CloseStream) for action in actions)
    assert sum(isinstance(action, OpenStream) for action in actions) == 1


def test_a_stall_in_mid_speech_ends_the_speech_once() -> None:
    detector = ScriptedDetector()
    gate = SilenceGate(detector)
    run(gate, [0.9] * 10)
    assert gate.speaking
    assert gate.stalled() == [Flush()]
    assert not gate.speaking
    assert gate.stalled() == []
    assert detector.resets == 2


def test_after_a_reset_continued_speech_opens_another_stream_without_losing_a_frame() -> None:
    gate = SilenceGate(ScriptedDetector())
    before = serials(run(gate, [0.9] * 10))
    gate.reset()
    actions = run(gate, [0.9] * 10, first=10)
    assert kinds(actions) == ["OpenStream", "Speech"]
    assert before + serials(actions) == list(range(20))


def test_frames_of_200_ms_work_as_well() -> None:
    gate = SilenceGate(ScriptedDetector())
    actions = [a for p in [0.0] * 10 + [0.9] * 5 + [0.0] * 5 for a in gate.push(frame(p, duration_s=0.2))]
    assert kinds(actions) == ["OpenStream", "Speech", "Flush"]


@given(st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0]), max_size=400), st.data())
def test_every_frame_is_sent_once_in_order_or_counted_as_saved(probabilities: list[float], data: st.DataObject) -> None:
    gate = SilenceGate(ScriptedDetector(), GateLimits(close_s=2.0))
    actions: list[GateAction] = []
    for n, p in enumerate(probabilities):
        actions += gate.push(frame(p, n))
        match data.draw(st.sampled_from(["", "", "", "", "stall", "reset"])):
            case "stall":
                actions += gate.stalled()
            case "reset":
                gate.reset()
                actions.append(CloseStream())
    sent = serials(actions)
    assert sent == sorted(set(sent))
    assert gate.passed_s == pytest.approx(len(sent) * FRAME_S)
    assert gate.passed_s + gate.saved_s == pytest.approx(len(probabilities) * FRAME_S)
    is_open = False
    for action in actions:
        match action:
            case OpenStream():
                assert not is_open
                is_open = True
            case Speech() | Flush():
                assert is_open
            case CloseStream():
                is_open = False


def test_without_a_gate_silence_is_sent() -> None:
    gate = SilenceGate(AlwaysSpeech())
    silence = np.zeros(SAMPLE_RATE * 80 // 1000, np.float32)
    actions = [action for _ in range(600) for action in gate.push(silence)]
    assert sum(isinstance(action, OpenStream) for action in actions) == 1
    assert not any(isinstance(action, Flush | CloseStream) for action in actions)


class AskedDetector:
    """An activity detector that remembers its questions. The first sample of a frame is its probability of speech."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._heard: list[bool] = []

    def push(self, frame: Frame) -> None:
        self._heard.append(bool(frame[0]))

    def speech_for(self, seconds: float) -> bool:
        self.asked.append("speech")
        return len(self._heard) * FRAME_S >= seconds and all(self._heard[-math.ceil(seconds / FRAME_S) :])

    def silence_for(self, seconds: float) -> bool:
        self.asked.append("silence")
        return len(self._heard) * FRAME_S >= seconds and not any(self._heard[-math.ceil(seconds / FRAME_S) :])

    def reset(self) -> None:
        self._heard.clear()


def test_an_activity_detector_is_asked_for_speech_in_silence_and_for_silence_in_speech() -> None:
    detector = AskedDetector()
    gate = SilenceGate(detector)
    actions = run(gate, [0.0] * 5 + [1.0] * 5 + [0.0] * 10)
    assert kinds(actions) == ["OpenStream", "Speech", "Flush"]
    assert detector.asked == ["speech"] * 7 + ["silence"] * 10 + ["speech"] * 3


def test_both_kinds_of_detector_give_the_same_result() -> None:
    speech = [0.0] * 5 + [1.0] + [0.0] * 3 + [1.0] * 7 + [0.0] * 6 + [1.0] * 4 + [0.0] * 20
    found = [kinds(run(SilenceGate(detector), speech)) for detector in (AskedDetector(), ScriptedDetector())]
    assert found[0] == found[1] == ["OpenStream", "Speech", "Flush"]
