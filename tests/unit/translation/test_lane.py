# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The lane: each segment once, in order for each speaker, translated or as it was said."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.translation.lane import (
    DEADLINE_S,
    MAX_BYTES,
    MAX_UNSENT_S,
    MAX_WAITING,
    Due,
    Outcome,
    TranslationLane,
    acceptable,
    same_language,
)
from live_transcription.translation.segments import Segment
from live_transcription.types import Caption


def due(lane: TranslationLane, now: float) -> list[Due]:
    """Each caption that may be sent now."""
    return list(iter(lambda: lane.next_caption(now), None))


def shown(lane: TranslationLane, now: float) -> list[tuple[str, str, str]]:
    """Text, language and outcome of each caption that may be sent now."""
    return [(each.caption.text, each.caption.language, each.outcome.value) for each in due(lane, now)]


def segment(number: int, text: str = "", *, speaker: str = "a", language: str = "en") -> Segment:
    return Segment(number, speaker, text or f"sentence {number}", language)


def test_a_translation_is_shown_in_the_readers_language() -> None:
    lane = TranslationLane("fr")
    assert lane.add(segment(1, "Good morning."), 0.0)
    assert shown(lane, 0.4) == []
    lane.translated(1, "Bonjour.")
    assert shown(lane, 0.5) == [("Bonjour.", "fr", "translated")]
    assert lane.next_deadline() is None


def test_the_order_of_a_speaker_is_kept_and_others_do_not_wait_for_it() -> None:
    lane = TranslationLane("fr")
    for number, speaker in ((1, "a"), (2, "a"), (3, "b")):
        lane.add(segment(number, speaker=speaker), 0.0)
    lane.translated(2, "deux")
    lane.translated(3, "trois")
    assert [text for text, _, _ in shown(lane, 0.5)] == ["trois"]
    lane.translated(1, "un")
    assert [text for text, _, _ in shown(lane, 0.6)] == ["un", "deux"]


def test_the_same_language_is_never_translated() -> None:
    lane = TranslationLane("pt_BR")
    assert not lane.add(segment(1, "Bom dia.", language="pt"), 0.0)
    assert shown(lane, 0.0) == [("Bom dia.", "pt", "same language")]
    assert same_language("zh-Hans", "zh_TW")
    assert not same_language("de", "da")


def test_masked_words_alone_are_never_translated() -> None:
    lane = TranslationLane("fr")
    assert not lane.add(segment(1, "**** *****."), 0.0)
    assert shown(lane, 0.0) == [("**** *****.", "en", "same language")]


def test_a_late_translation_is_replaced_by_the_original() -> None:
    lane = TranslationLane("fr")
    lane.add(segment(1, "Good morning."), 1.0)
    assert lane.next_deadline() == 1.0 + DEADLINE_S
    assert shown(lane, 1.0 + DEADLINE_S) == [("Good morning.", "en", "late")]
    assert not lane.wants(1)
    lane.translated(1, "Bonjour.")
    assert shown(lane, 9.0) == []


def test_a_failed_translation_is_replaced_at_once() -> None:
    lane = TranslationLane("fr")
    lane.add(segment(1, "Good morning."), 0.0)
    lane.failed(1)
    assert shown(lane, 0.1) == [("Good morning.", "en", "failed")]


def test_behind_eight_others_a_segment_is_shown_as_it_was_said() -> None:
    lane = TranslationLane("fr")
    assert all(lane.add(segment(number, speaker=str(number)), 0.0) for number in range(MAX_WAITING))
    assert not lane.add(segment(99, speaker="late"), 0.0)
    assert shown(lane, 0.0) == [("sentence 99", "en", "queue full")]


@pytest.mark.parametrize("answer", ["", "  \n", "…", "\x00\x01", "x" * 500])
def test_an_answer_that_cannot_be_a_translation_is_refused(answer: str) -> None:
    lane = TranslationLane("fr")
    lane.add(segment(1, "Good morning."), 0.0)
    lane.translated(1, answer)
    assert shown(lane, 0.1) == [("Good morning.", "en", "failed")]


def test_a_translation_is_one_line() -> None:
    assert acceptable("Good morning.", " Bon\njour\x1b\t. ") == "Bon jour ."


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("Guten \u202e Morgen\u2066.", "Guten Morgen."),
        ("\ufeffGuten\xa0Mor\xadgen.", "Guten Morgen."),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("ok \U0001f469\u200d\U0001f4bb", "ok \U0001f469\u200d\U0001f4bb"),
        ("ok \ud800.", "ok ."),
    ],
)
def test_invisible_characters_are_removed_except_joiners(answer: str, shown: str) -> None:
    assert acceptable("Good morning.", answer) == shown


def test_what_cannot_be_sent_is_bounded_and_counted() -> None:
    lane = TranslationLane("fr")
    text = "word " * 200
    for number in range(200):
        lane.add(segment(number, text, language="fr"), 0.0)
    kept = shown(lane, 0.0)
    assert 0 < len(kept) <= MAX_BYTES // len(text)
    assert lane.dropped_words == 200 * (200 - len(kept))
    lane.add(segment(999, "too old", language="fr"), 1.0)
    assert shown(lane, 1.0 + MAX_UNSENT_S + 0.1) == []
    assert lane.dropped_words == 200 * (200 - len(kept)) + 2


@given(seed=st.integers(0, 2**32), number=st.integers(1, 40))
def test_any_order_of_answers_shows_each_segment_once(seed: int, number: int) -> None:
    """A short version of the 10,000 interleavings in bench/acceptance."""
    random = Random(seed)
    lane, now = TranslationLane("fr"), 0.0
    said: list[Segment] = []
    asked: list[int] = []
    captions: list[Caption] = []
    while len(said) < number or asked:
        now += random.choice([0.0, 0.1, 1.0, 3.0])
        if len(said) < number and random.random() < 0.6:
            said.append(Segment(len(said), random.choice("abc"), f"<{len(said)}> said", random.choice(["en", "fr", "de"])))
            if lane.add(said[-1], now):
                asked.append(said[-1].id)
        elif asked:
            answered = asked.pop(random.randrange(len(asked)))
            match random.choice(["right", "failed", "garbage", "lost"]):
                case "right":
                    lane.translated(answered, f"<{answered}> traduit")
                case "failed":
                    lane.failed(answered)
                case "garbage":
                    lane.translated(answered, "")
                case "lost":
                    pass
        captions += [each.caption for each in due(lane, now)]
    captions += [each.caption for each in due(lane, now + DEADLINE_S)]
    for speaker in "abc":
        expected = [each for each in said if each.speaker == speaker]
        seen = [each for each in captions if each.speaker == speaker]
        assert [caption.text.split()[0] for caption in seen] == [f"<{each.id}>" for each in expected]
        for caption, original in zip(seen, expected, strict=True):
            assert caption.language == ("fr" if "traduit" in caption.text else original.language)


def test_a_lane_that_gives_up_shows_the_rest_as_it_was_said() -> None:
    lane = TranslationLane("fr")
    lane.add(segment(1, "Good morning."), 0.0)
    assert [each.text for each in lane.unsent()] == ["Good morning."]
    lane.give_up()
    assert shown(lane, 0.1) == [("Good morning.", "en", "late")]
    assert lane.unsent() == []


def test_the_outcomes_are_those_that_the_metrics_count() -> None:
    assert {outcome.value for outcome in Outcome} == {"translated", "same language", "late", "failed", "queue full"}
