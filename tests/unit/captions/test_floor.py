# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The floor: all words of all speakers are shown, in order and once."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.capacity.load import CaptionInterval
from live_transcription.captions.floor import LONGEST_WAIT_S, MESSAGE_CHARS, MOST_BYTES, CaptionFloor
from live_transcription.types import Caption
from tests.unit.captions.reading import Reading


def shown(floor: CaptionFloor, now: float) -> list[tuple[str, str]]:
    """Speaker and text of each message that may be sent now."""
    messages = iter(lambda: floor.next_message(now), None)
    return [(message.caption.speaker, message.caption.text) for message in messages]


def test_the_first_word_is_shown_at_once_and_the_next_ones_together() -> None:
    reading = Reading()
    reading.say("a", "one")
    reading.say("a", "two", 0.1)
    reading.say("a", "three", 0.1)
    reading.wait(1.0)
    assert [(round(at, 3), message.caption.text) for at, message in reading.messages] == [(0.0, "one"), (0.3, "two three")]


def test_under_load_messages_come_further_apart_and_no_word_is_lost() -> None:
    interval = CaptionInterval()
    reading = Reading(CaptionFloor(interval))
    interval.stretch = 4.0
    for word in ("one", "two", "three"):
        reading.say("a", word, 0.4)
    reading.finish()
    assert [(round(at, 3), message.caption.text) for at, message in reading.messages] == [(0.4, "one"), (1.6, "two three")]


def test_another_speaker_waits_for_the_end_of_the_sentence() -> None:
    reading = Reading()
    reading.say("a", "I was saying")
    reading.say("b", "Let me", 0.5)
    reading.say("b", "add", 0.2)
    reading.say("a", "that it works.", 0.2)
    assert reading.blocks == [("a", "I was saying that it works."), ("b", "Let me add")]
    assert reading.messages[-1][1].waited_s == pytest.approx(0.4)


def test_another_speaker_waits_no_longer_than_two_and_a_half_seconds() -> None:
    reading = Reading()
    for step in range(20):
        reading.say("a", f"a{step}", 0.4)
        if step == 10:
            reading.say("b", "excuse me")
    switched = [at for at, message in reading.messages if message.caption.speaker == "b"]
    assert switched == [pytest.approx(11 * 0.4 + 2.5)]
    reading.finish()
    assert reading.text("a") == " ".join(f"a{step}" for step in range(20))


def test_another_speaker_is_shown_at_a_pause() -> None:
    reading = Reading()
    reading.say("a", "well")
    reading.pause("a")
    reading.say("b", "yes", 0.1)
    assert reading.blocks[-1] == ("b", "yes")
    quiet = Reading()
    quiet.say("a", "well")
    quiet.say("b", "yes", 0.2)
    quiet.wait(0.79)
    assert len(quiet.blocks) == 1
    quiet.wait(0.02)
    assert quiet.blocks[-1] == ("b", "yes")


def test_the_words_of_a_speaker_who_leaves_take_the_floor_at_once() -> None:
    reading = Reading()
    reading.say("a", "I was saying")
    reading.say("b", "good", 0.1)
    reading.leave("b")
    reading.say("b", "bye", 0.05)
    assert reading.blocks == [("a", "I was saying"), ("b", "good bye")]
    reading.floor.forget("b")
    reading.say("a", "that", 0.1)
    reading.finish()
    assert reading.blocks[-1] == ("a", "that")


def test_a_speaker_who_is_back_waits_for_the_floor_again() -> None:
    reading = Reading()
    reading.leave("b")
    reading.floor.leave("b", leaving=False)
    reading.say("a", "I was saying")
    reading.say("b", "good", 0.1)
    assert reading.blocks == [("a", "I was saying")]


def test_all_last_words_take_the_floor_at_once_an_utterance_after_the_other() -> None:
    floor = CaptionFloor()
    floor.leave("A")
    floor.offer(Caption("A", "one utterance", "en"), 0.0)
    floor.end_utterance("A")
    assert shown(floor, 0.0) == [("A", "one utterance")]
    floor.offer(Caption("B", "meanwhile", "en"), 5.0)
    assert shown(floor, 5.0) == [("B", "meanwhile")]
    floor.offer(Caption("A", "and another", "en"), 5.1)
    assert shown(floor, 5.1) == [("A", "and another")]


def test_nothing_is_kept_of_those_who_have_left() -> None:
    """Whether their last words were sent, dropped as too old, or whether there were none."""
    floor = CaptionFloor()
    for name, has_words in (("A", True), ("B", True), ("C", False), ("D", True)):
        floor.leave(name)
        if has_words:
            floor.offer(Caption(name, "last words", "en"), 0.0 if name == "B" else 100.0)
        floor.forget(name)
    assert shown(floor, 150.0) == [("A", "last words"), ("D", "last words")]
    assert floor.dropped_words == 2


def test_speakers_who_have_left_or_said_nothing_take_no_memory() -> None:
    floor = CaptionFloor()

    def pass_through(number: int) -> None:
        floor.leave(f"speaker-{number}")
        if number % 2:
            floor.offer(Caption(f"speaker-{number}", "last words", "en"), float(number))
        floor.forget(f"speaker-{number}")
        floor.leave(f"silent-{number}", leaving=False)
        shown(floor, float(number))

    for number in range(100):
        pass_through(number)
    tracemalloc.start()
    try:
        for number in range(100, 1100):
            pass_through(number)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 20_000
    finally:
        tracemalloc.stop()


def test_while_the_reader_is_behind_the_floor_is_held_longer() -> None:
    reading = Reading()
    reading.say("a", "word " * 59 + "word")  # five lines
    for step in range(12):
        reading.say("a", f"a{step}", 0.4)
        if step == 0:
            reading.say("b", "excuse me")
    assert not any(message.caption.speaker == "b" for _, message in reading.messages)
    reading.wait(1.0)
    assert [at for at, message in reading.messages if message.caption.speaker == "b"] == [pytest.approx(5.4)]


def test_languages_of_one_speaker_come_in_messages_of_their_own() -> None:
    reading = Reading()
    reading.say("a", "one")
    reading.say("a", "two", 0.05)
    reading.say("a", "trois", 0.05, "fr")
    reading.finish()
    assert [(message.caption.language, message.caption.text) for _, message in reading.messages] == [
        ("en", "one"),
        ("en", "two"),
        ("fr", "trois"),
    ]


def test_a_long_wait_ends_in_merged_messages_of_bounded_length() -> None:
    floor = CaptionFloor()
    words = {speaker: [f"{speaker}{number}" for number in range(600)] for speaker in "ab"}
    for number in range(600):
        for speaker in "ab":
            floor.offer(Caption(speaker, words[speaker][number], "en"), number * 0.1)
    reading = Reading(floor)
    reading.now = 60.0
    reading.take()
    reading.finish()
    assert {speaker: reading.text(speaker).split() for speaker in "ab"} == words
    assert max(len(message.caption.text) for _, message in reading.messages) <= MESSAGE_CHARS
    assert len(reading.messages) <= 6
    assert floor.dropped_words == 0


def test_what_waits_too_long_goes_oldest_first_and_is_counted() -> None:
    floor = CaptionFloor()
    for number in range(200):
        floor.offer(Caption("a", f"w{number}", "en"), float(number))
    message = floor.next_message(199.0)
    assert message is not None
    assert message.caption.text.split()[0] == f"w{199 - int(LONGEST_WAIT_S)}"
    assert floor.dropped_words == 199 - LONGEST_WAIT_S


def test_what_takes_too_much_memory_goes_oldest_first_and_is_counted() -> None:
    floor = CaptionFloor()
    for number in range(800):
        floor.offer(Caption("ab"[number % 2], f"{number:04d}" + "ü" * 48, "en"), number * 0.01)
    assert MOST_BYTES - 100 < floor.waiting_bytes <= MOST_BYTES
    assert floor.dropped_words == 800 - floor.waiting_bytes // 100
    first = floor.next_message(8.0)
    assert first is not None
    assert first.caption.text[:4] == f"{floor.dropped_words:04d}"
    floor.clear()
    assert floor.waiting_bytes == 0


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[float, str, str]]:
    """One to six people at once: when, who, and how many words, a pause or leaving."""
    speakers = "abcdef"[: draw(st.integers(1, 6))]
    event = st.sampled_from(["1", "1", "1", "2", "3.", "pause", "fr", "leave"])
    return draw(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 1.1, 2.6]), st.sampled_from(speakers), event), max_size=60))


def converse(script: list[tuple[float, str, str]]) -> None:
    """Everybody is shown whole, in order and once; nobody waits for longer than the floor may be held by each other."""
    reading = Reading()
    said: dict[str, list[str]] = {}
    languages: dict[str, str] = {}
    for gap, speaker, event in script:
        reading.wait(gap)
        if event == "pause":
            reading.pause(speaker)
        elif event == "leave":
            reading.leave(speaker)
            reading.floor.forget(speaker)
        elif event == "fr":
            languages[speaker] = "fr" if languages.get(speaker) != "fr" else "en"
        else:
            words = said.setdefault(speaker, [])
            new = [f"{speaker}{len(words) + number}" for number in range(int(event[0]))]
            new[-1] += event[1:]
            words += new
            reading.say(speaker, " ".join(new), language=languages.get(speaker, "en"))
    reading.finish()
    assert {speaker: reading.text(speaker).split() for speaker in said} == said
    assert reading.floor.waiting_bytes == 0
    for _, message in reading.messages:
        assert message.waited_s is None or message.waited_s <= 5.0 * 5 + 0.3
    for speaker in said:
        if not any(event == "leave" and who == speaker for _, who, event in script):
            times = [at for at, message in reading.messages if message.caption.speaker == speaker]
            assert all(later - earlier >= 0.299 for earlier, later in pairwise(times))


@settings(deadline=None)
@given(conversations())
def test_everybody_is_shown_whole_in_order_and_once(script: list[tuple[float, str, str]]) -> None:
    converse(script)


def test_ten_thousand_random_interleavings() -> None:
    random = Random(7)
    events = ["1", "1", "1", "2", "3.", "pause", "fr", "leave"]
    for _ in range(10_000):
        speakers = "abcdef"[: random.randint(1, 6)]
        converse(
            [
                (random.choice([0.0, 0.1, 0.3, 1.1, 2.6]), random.choice(speakers), random.choice(events))
                for _ in range(random.randint(1, 25))
            ]
        )
