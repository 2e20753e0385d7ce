# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.stt.embedded.recogniser import RATE, Samples
from live_transcription.stt.embedded.utterance import Utterance, pause, quietest
from sandbox import recording


def tone(seconds: float, level: float = 0.3) -> Samples:
    wave: Samples = (level * np.sin(np.arange(round(seconds * RATE)) * 0.2)).astype(np.float32)
    return wave


def quiet(seconds: float, level: float = 0.001) -> Samples:
    return np.random.default_rng(3).normal(0, level, round(seconds * RATE)).astype(np.float32)


def utterance(*parts: Samples) -> Utterance:
    made = Utterance(1.5)
    for part in parts:
        made.append(part)
    return made


def test_a_quiet_tail_is_measured_from_the_last_sound() -> None:
    assert utterance(tone(1.0), quiet(0.3)).quiet_tail_s() == pytest.approx(0.3, abs=0.06)
    assert utterance(tone(1.0)).quiet_tail_s() < 0.05
    assert utterance(quiet(1.0)).quiet_tail_s() == 0.0


def test_speech_is_measured_from_the_first_sound_however_long_the_silence_before_it() -> None:
    assert utterance(quiet(0.6, 0.0003), tone(0.4)).speech_s() == pytest.approx(0.4, abs=0.06)
    assert utterance(tone(0.4)).speech_s() == pytest.approx(0.4, abs=0.06)
    assert utterance(quiet(1.0, 0.0003)).speech_s() == 0.0
    assert Utterance(0.0).speech_s() == 0.0


def test_two_consecutive_hypotheses_agree_on_the_first_word_once_a_word_follows_it_in_both() -> None:
    made = Utterance(0.0)
    for text, agreed in (("Tons", False), ("Tous", False), ("tous nos", False), ("Tous, nos", True), ("Vous n'avez", True)):
        made.show(text, 0)
        assert made.agreed is agreed
        assert made.shown == text


def test_the_rest_of_a_cut_utterance_has_no_urgent_first_word() -> None:
    made = utterance(tone(2.0))
    rest = made.cut(RATE)
    assert rest.agreed
    assert not made.agreed


def test_a_recording_falls_silent_soon_after_its_last_sound_and_not_in_the_words() -> None:
    clip = recording.load("en-short")
    samples, end_s = clip.pcm(RATE), clip.utterances[0].end_s
    assert utterance(samples[: round((end_s + 0.3) * RATE)]).quiet_tail_s() == pytest.approx(0.3, abs=0.1)
    assert utterance(samples[: round((end_s - 0.5) * RATE)]).quiet_tail_s() < 0.2


def test_silence_is_told_from_a_low_voice() -> None:
    assert utterance(quiet(2.0, 0.0003)).silent
    assert not utterance(quiet(1.0, 0.0003), tone(0.3, 0.01)).silent
    assert Utterance(0.0).silent


def test_the_longest_pause_is_found_in_its_middle() -> None:
    samples = np.concatenate([tone(1.0), quiet(0.2), tone(1.0), quiet(0.4), tone(1.0)])
    assert pause(samples, 0.5, 3.5, 0.2) == pytest.approx(2.4 * RATE, abs=0.05 * RATE)
    assert pause(samples, 0.5, 2.0, 0.15) == pytest.approx(1.1 * RATE, abs=0.05 * RATE)
    assert pause(samples, 0.5, 2.0, 0.4) is None
    assert pause(tone(3.0), 0.5, 2.5, 0.1) is None


def test_without_a_pause_the_quietest_moment_serves() -> None:
    samples = np.concatenate([tone(1.0), tone(0.06, 0.1), tone(1.0)])
    assert quietest(samples, 0.5, 1.8) == pytest.approx(1.03 * RATE, abs=0.04 * RATE)


@given(st.lists(st.integers(0, 5000), max_size=30), st.floats(0, 1))
def test_cutting_keeps_every_sample_in_order(lengths: list[int], where: float) -> None:
    whole = np.random.default_rng(1).normal(0, 0.1, sum(lengths)).astype(np.float32)
    made = Utterance(2.0)
    at = 0
    for length in lengths:
        made.append(whole[at : at + length])
        at += length
    view = made.samples
    position = int(where * len(made))
    rest = made.cut(position)
    rest.append(tone(0.5))
    assert np.array_equal(view, whole)
    assert np.array_equal(np.concatenate([made.samples, rest.samples[: len(whole) - position]]), whole)
    assert made.end_s == pytest.approx(rest.start_s)


def test_a_trial_holds_as_long_as_it_stays_quiet() -> None:
    made = utterance(tone(1.0), quiet(0.25))
    made.trial = (len(made), "one")
    made.append(quiet(0.3))
    assert made.accept_trial() == "one"
    made.append(tone(0.3))
    made.append(quiet(0.3))
    assert made.accept_trial() is None


def test_a_cut_in_the_same_pause_keeps_the_trial_and_one_elsewhere_does_not() -> None:
    for position_s, expected in ((1.25, "one"), (1.35, "one"), (2.0, None), (0.5, None)):
        made = utterance(tone(1.0), quiet(0.4))
        made.trial = (round(1.25 * RATE), "one")
        made.append(tone(1.0))
        made.cut(round(position_s * RATE))
        assert made.accept_trial() == expected
