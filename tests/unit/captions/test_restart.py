# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A stream that is replaced repeats what it told; the room must read every word once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.captions.assembler import CaptionAssembler
from live_transcription.captions.policy import UtteranceText
from live_transcription.stt_events import Flushed, Hypothesis, Pause, Restarted, SttEvent, Token


def word(number: int, *, sentence_end: bool = False) -> str:
    return f"w{number}." if sentence_end else f"w{number}"


def numbers(texts: list[UtteranceText]) -> list[int]:
    return [int(part[1:].rstrip(".")) for text in texts if text.final and text.text for part in text.text.split()]


class Reading:
    """An assembler, a clock that moves 0.3 s a word, and what the room reads."""

    def __init__(self) -> None:
        self.assembler = CaptionAssembler()
        self.now = 0.0
        self.texts: list[UtteranceText] = []

    def feed(self, event: SttEvent, after_s: float = 0.0) -> None:
        self.now += after_s
        while (deadline := self.assembler.next_deadline()) is not None and deadline <= self.now:
            self.texts += self.assembler.tick(deadline)
        self.texts += self.assembler.feed(event, self.now)

    def end(self) -> list[int]:
        self.texts += self.assembler.finalise(self.now)
        return numbers(self.texts)


@settings(deadline=None)
@given(
    count=st.integers(1, 90),
    sentence=st.integers(3, 40),
    breaks=st.lists(st.integers(0, 90), max_size=3),
    pauses=st.lists(st.integers(0, 90), max_size=3),
    flush=st.booleans(),
)
def test_every_word_is_read_once_whatever_breaks_and_is_repeated(
    count: int, sentence: int, breaks: list[int], pauses: list[int], flush: bool
) -> None:
    reading = Reading()
    closed = 0
    for number in range(count):
        reading.feed(Token(word(number, sentence_end=number % sentence == sentence - 1), True), 0.3)
        if number in pauses:
            reading.feed(Flushed() if flush else Pause())
            closed = number + 1
        for _ in range(breaks.count(number)):
            reading.feed(Restarted(), 1.0)
            for again in range(closed, number + 1):
                reading.feed(Token(word(again, sentence_end=again % sentence == sentence - 1), True), 0.07)
    assert reading.end() == list(range(count))


def test_a_partial_is_not_shown_shorter_while_it_is_repeated() -> None:
    reading = Reading()
    for number in range(5):
        reading.feed(Token(word(number), True), 0.3)
    reading.feed(Restarted())
    reading.feed(Token(word(0), True))
    assert reading.texts[-1].text == "w0 w1 w2 w3 w4"


def test_another_engine_that_rewrites_takes_up_the_utterance() -> None:
    reading = Reading()
    for number in range(40):
        reading.feed(Token(word(number, sentence_end=number == 19), True), 0.3)
    reading.feed(Restarted(), 1.0)
    words = [word(number) for number in range(45)]
    reading.feed(Hypothesis(" ".join(words[:30]), final=False), 0.5)
    reading.feed(Hypothesis(" ".join(words[:30]), final=True), 0.5)
    reading.feed(Hypothesis(" ".join(words[30:]), final=True), 0.5)
    assert reading.end() == list(range(45))


def test_a_word_stream_takes_up_the_utterance_of_an_engine_that_rewrites() -> None:
    reading = Reading()
    reading.feed(Hypothesis("w0 w1", final=True), 0.5)
    reading.feed(Hypothesis("w2 w3 w4", final=False), 0.5)
    reading.feed(Restarted(), 0.5)
    for number in range(2, 9):
        reading.feed(Token(word(number), True), 0.1)
    assert reading.end() == list(range(9))
    assert all(text.text != "w2" for text in reading.texts)


def test_words_that_wait_for_their_end_when_the_stream_breaks_after_a_flush_stay() -> None:
    reading = Reading()
    for number in range(4):
        reading.feed(Token(word(number), True), 0.2)
    reading.feed(Flushed())
    reading.feed(Restarted(), 0.1)
    for number in range(4, 8):
        reading.feed(Token(word(number), True), 0.2)
    assert reading.end() == list(range(8))


def test_a_flush_in_a_replay_while_somebody_speaks_repeats_nothing_that_stands() -> None:
    reading = Reading()
    reading.assembler.start_of_speech(0.0)
    for number in range(40):
        reading.feed(Token(word(number), True), 0.4)
    assert 0 < len(numbers(reading.texts)) < 40
    reading.feed(Restarted(), 0.5)
    for number in range(45):
        reading.feed(Token(word(number), True), 0.1)
    reading.feed(Flushed())
    for number in range(45, 50):
        reading.feed(Token(word(number), True), 0.4)
    assert reading.end() == list(range(50))
