# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The language of words that an engine transcribes without saying their language."""

from __future__ import annotations

from itertools import pairwise

import pytest

from live_transcription.captions.spoken_language import SpokenLanguage
from live_transcription.languages import AUTO
from sandbox import recording


def say(spoken: SpokenLanguage, text: str) -> tuple[list[str], str]:
    """The languages of the words of an utterance, and of all of it."""
    spoken.hear(None)
    return [spoken.add(word) for word in text.split()], spoken.end_utterance()


@pytest.mark.parametrize("name", ["en-conference", "en-novel", "en-short", "fr-conference", "fr-short"])
def test_utterances_of_real_speech(name: str) -> None:
    speech = recording.load(name)
    spoken = SpokenLanguage(AUTO)
    found = [say(spoken, utterance.text)[1] for utterance in speech.utterances]
    assert set(found) == {speech.language}


def test_a_speaker_who_changes_between_two_languages() -> None:
    spoken = SpokenLanguage(AUTO)
    texts = {
        language: [
            utterance.text
            for name in (f"{language}-short", f"{language}-conference")
            for utterance in recording.load(name).utterances
            if len(utterance.text.split()) >= 12
        ]
        for language in ("en", "fr")
    }
    for english, french in zip(texts["en"], texts["fr"], strict=False):
        assert say(spoken, english)[1] == "en", english
        assert say(spoken, french)[1] == "fr", french


@pytest.mark.parametrize(
    "text", ["Yes.", "Thank you.", "OK, sorry.", "The New York Times", "Le week-end", "Amazon Web Services"]
)
def test_a_few_foreign_words_change_nothing(text: str) -> None:
    spoken = SpokenLanguage(AUTO)
    say(spoken, "Bonjour, je suis très content de vous voir avec nous.")
    assert say(spoken, text)[1] == "fr"


def test_a_clear_change_applies_from_the_word_that_shows_it() -> None:
    spoken = SpokenLanguage(AUTO)
    say(spoken, "This is what we have to do now.")
    words, utterance = say(spoken, "Bonjour, je crois que c’est la même chose.")  # noqa: RUF001
    assert (words[0], words[-1], utterance) == ("en", "fr", "fr")
    assert sum(one != other for one, other in pairwise(words)) == 1


def test_the_first_word_may_already_show_it() -> None:
    assert say(SpokenLanguage(AUTO), "Bonjour à tous")[0] == ["fr"] * 3
    assert say(SpokenLanguage(AUTO), "Hmm")[1] == "en"


def test_an_engine_that_knows_the_language_is_believed() -> None:
    spoken = SpokenLanguage(AUTO)
    spoken.hear("de")
    assert spoken.add("This is not the point") == "de"
    assert spoken.end_utterance() == "de"
    assert say(spoken, "Je ne sais pas.")[1] == "fr"  # another engine takes over


def test_a_stream_with_a_language_keeps_it() -> None:
    spoken = SpokenLanguage("en")
    assert say(spoken, "Bonjour, je ne sais pas où nous sommes.")[1] == "en"


def test_changes_from_and_to_an_automatic_language() -> None:
    spoken = SpokenLanguage("en")
    say(spoken, "Hello.")
    spoken.begin_stream(AUTO)
    assert say(spoken, "Bonjour.")[1] == "en"
    assert say(spoken, "Bonjour, je ne sais pas où nous sommes.")[1] == "fr"
    spoken.begin_stream("de")
    assert say(spoken, "Bonjour, je ne sais pas où nous sommes.")[1] == "de"


def test_only_an_utterance_of_some_length_counts_after_a_silence() -> None:
    spoken = SpokenLanguage(AUTO)
    spoken.hear("zh")
    spoken.add("是")
    spoken.end_utterance()
    assert spoken.language is None
    spoken.hear("fr")
    spoken.add("Je ne le crois")
    spoken.add("pas du tout.")
    spoken.end_utterance()
    spoken.hear("tr")
    spoken.add("Evet")
    spoken.end_utterance()
    assert spoken.language == "fr"
