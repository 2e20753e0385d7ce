# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The language of a speaker's utterances, from the probabilities of a detector."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from live_transcription.stt.embedded.language_choice import LanguageChoice


def choice(current: str | None = None) -> LanguageChoice:
    choice = LanguageChoice({"en", "fr", "de"})
    if current is not None:
        choice.observe({current: 0.99}, 4.0)
        choice.end_utterance()
    return choice


def test_first_words_wait_until_the_language_is_likely() -> None:
    first = choice()
    first.observe({"fr": 0.9, "en": 0.1}, 0.3)
    assert first.language(last=False) is None
    first.observe({"fr": 0.5, "en": 0.4, "de": 0.1}, 0.9)
    assert first.language(last=False) is None
    first.observe({"fr": 0.7, "en": 0.2}, 1.0)
    assert first.language(last=False) == "fr"
    assert not first.decided


def test_a_final_always_has_a_language() -> None:
    assert choice().language(last=True) == "de"  # no observation: any of them
    first = choice()
    first.observe({"fr": 0.4, "en": 0.35}, 0.3)
    assert first.language(last=True) == "fr"


def test_what_a_short_first_utterance_seemed_to_be_does_not_count_for_the_next_one() -> None:
    speaker = choice()
    speaker.observe({"de": 0.95}, 0.4)
    assert speaker.language(last=True) == "de"
    speaker.end_utterance()
    speaker.observe({"fr": 0.95}, 2.0)
    assert speaker.language(last=False) == "fr"


@pytest.mark.parametrize(("seconds", "probability"), [(0.4, 0.999), (1.4, 0.99), (5.0, 0.8)])
def test_a_short_or_doubtful_utterance_keeps_the_language(seconds: float, probability: float) -> None:
    speaker = choice("fr")
    speaker.observe({"en": probability, "fr": 1 - probability}, seconds)
    assert speaker.language(last=True) == "fr"


def test_clear_evidence_changes_the_language() -> None:
    speaker = choice("fr")
    speaker.observe({"en": 0.97, "fr": 0.02}, 0.8)
    assert speaker.language(last=False) == "fr"
    speaker.observe({"en": 0.97, "fr": 0.02}, 2.0)
    assert speaker.language(last=False) == "en"
    speaker.end_utterance()
    assert speaker.language(last=False) == "en"


def test_a_decided_utterance_is_not_revised() -> None:
    speaker = choice("fr")
    speaker.observe({"fr": 0.95}, 1.5)
    assert speaker.decided
    speaker.observe({"en": 0.99}, 5.0)
    assert speaker.language(last=True) == "fr"


def test_languages_that_are_not_offered_do_not_count() -> None:
    speaker = choice()
    speaker.observe({"nl": 0.6, "de": 0.38, "en": 0.02}, 2.0)
    assert speaker.language(last=False) == "de"
    speaker = choice()
    speaker.observe({"nl": 1.0}, 2.0)
    assert speaker.language(last=False) is None


def test_noise_does_not_change_the_language() -> None:
    speaker = choice("fr")
    speaker.observe({"en": 0.99}, 3.0)
    speaker.reject()
    assert speaker.language(last=True) == "fr"
    assert not speaker.decided


def test_it_is_always_an_offered_language_and_changes_at_most_once_per_utterance() -> None:
    random = Random(14)
    for _ in range(300):
        speaker = choice()
        for _ in range(6):
            languages = []
            for _ in range(random.randrange(1, 8)):
                probabilities = {language: random.random() ** 8 for language in ("en", "fr", "de", "nl")}
                speaker.observe(probabilities, random.uniform(0.0, 9.0))
                languages.append(speaker.language(last=False))
            languages.append(speaker.language(last=True))
            assert languages[-1] in ("en", "fr", "de")
            said = [language for language in languages if language is not None]
            assert sum(one != other for one, other in pairwise(said)) <= 1
            speaker.end_utterance()


def test_the_language_before_a_long_silence_counts_if_it_is_offered() -> None:
    speaker = LanguageChoice({"en", "fr"}, "fr")
    speaker.observe({"en": 0.99}, 0.5)
    assert speaker.language(last=True) == "fr"
    speaker.reject()
    assert speaker.language(last=True) == "fr"
    assert LanguageChoice({"en", "fr"}, "de").language(last=False) is None
