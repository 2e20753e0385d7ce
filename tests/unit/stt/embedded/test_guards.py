# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import pytest

from live_transcription.stt.embedded import guards


@pytest.mark.parametrize(
    ("text", "score", "no_speech"),
    [
        ("you", -1.14, 0.92),
        ("I'm going to put the sauce on the side.", -1.74, 0.79),
        ("And", -5.6, 0.62),
        ("...", -0.3, 0.1),
        ("", 0.0, 0.0),
        ("Sous-titres réalisés par la communauté d'Amara.org", -0.2, 0.1),
        ("Thanks for watching!", -0.4, 0.2),
        ("Thank you.", -0.5, 0.8),
    ],
)
def test_what_whisper_makes_of_noise_is_dropped(text: str, score: float, no_speech: float) -> None:
    assert guards.no_speech(text, score, no_speech)


@pytest.mark.parametrize(
    ("text", "score", "no_speech"),
    [
        ("The conference is currently locked.", -0.05, 0.01),
        ("To mute or unmute yourself.", -0.07, 0.7),
        ("All of our", -1.3, 0.1),
        ("Thank you.", -0.3, 0.05),
        ("Merci.", -0.4, 0.2),
    ],
)
def test_speech_passes_even_if_one_sign_speaks_against_it(text: str, score: float, no_speech: float) -> None:
    assert not guards.no_speech(text, score, no_speech)


@pytest.mark.parametrize(
    "text",
    [
        "The conference is currently currently currently currently currently currently",
        "to consider to consider to consider to consider how",
        "and so on and so on and so on",
        "He was not. He was not. He was not. He",
    ],
)
def test_loops_are_found_and_cut_to_one_round(text: str) -> None:
    assert guards.loops(text)
    assert not guards.loops(guards.unloop(text))
    assert text.startswith(guards.unloop(text))


@pytest.mark.parametrize("text", ["No, no, no, I mean it.", "very, very good", "one two one two three", "", "bye bye bye"])
def test_people_may_repeat_themselves(text: str) -> None:
    assert not guards.loops(text)
    assert guards.unloop(text) == text


def test_a_sentence_said_twice_is_an_echo() -> None:
    assert guards.echoes("It cannot be joined now. It cannot be joined now.")
    assert not guards.echoes("It cannot be joined. It cannot be left.")


def test_cutting_a_loop_keeps_what_came_before_it() -> None:
    assert guards.unloop("Please hold the line, please. La la la la la la la") == "Please hold the line, please. La"
