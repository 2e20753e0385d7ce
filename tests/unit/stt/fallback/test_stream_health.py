# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable

import pytest

from live_transcription.errors import SttDeaf, SttRepeating, SttSlow, SttUnhealthy
from live_transcription.stt.fallback.stream_health import SUSPECT, UNSURE_S, StreamHealth
from live_transcription.types import SAMPLE_RATE

FRAME_S = 0.08


class Session:
    """A speaker in real time on a server that works at `rate` times real time, and reports how far it is if `reports`."""

    def __init__(self, health: StreamHealth | None = None, *, rate: float = 4.0, reports: bool = True) -> None:
        self.health = health or StreamHealth()
        self.rate = rate
        self.reports = reports
        self.now = 100.0
        self.sent_s = self.done_s = self.next_word_s = 0.0
        self.problem: SttUnhealthy | None = None

    def frame(self, *, speed: float = 1.0) -> None:
        """Send a frame, and let its time pass."""
        self.health.sent(round(FRAME_S * SAMPLE_RATE), self.now)
        self.sent_s += FRAME_S
        self.now += FRAME_S / speed
        self.done_s = min(self.sent_s - 0.56, self.done_s + self.rate * FRAME_S / speed)
        self.problem = self.problem or self.check()

    def check(self) -> SttUnhealthy | None:
        return self.health.check(max(0.0, self.done_s) if self.reports else None, self.now)

    def speak(self, seconds: float, *words: str, every_s: float = 0.4, speed: float = 1.0) -> None:
        """Speech of this length. The server says the words one after another, and the last one again and again."""
        self.health.mark_speech(True)
        said = 0
        if self.sent_s - self.done_s < 1.2:  # no earlier speech is still to be transcribed
            self.next_word_s = max(self.next_word_s, self.sent_s)
        for _ in range(round(seconds / FRAME_S)):
            self.frame(speed=speed)
            if words and self.done_s >= self.next_word_s:
                self.next_word_s += every_s
                self.health.word(words[min(said, len(words) - 1)], self.done_s if self.reports else None, self.now)
                said += 1

    def pause(self, seconds: float = 1.0) -> None:
        """The silence gate flushes, and nothing is sent."""
        self.health.mark_speech(False)
        self.health.flush_sent(self.now)
        self.now += seconds
        self.done_s = self.sent_s
        self.health.flush_answered()


COUNTING = [str(number) for number in range(1000)]


@pytest.mark.parametrize("reports", [True, False])
def test_ten_seconds_of_speech_without_a_word_are_too_much(reports: bool) -> None:
    session = Session(reports=reports)
    session.speak(10.0)
    assert session.problem is None
    session.speak(4.0)
    assert isinstance(session.problem, SttDeaf)


@pytest.mark.parametrize("reports", [True, False])
def test_someone_who_is_transcribed_is_never_a_problem(reports: bool) -> None:
    session = Session(reports=reports)
    for _ in range(20):
        session.speak(12.0, *COUNTING)
        session.pause()
    assert session.problem is None


def test_short_speeches_add_up_but_coughs_and_audio_without_marks_do_not() -> None:
    session = Session()
    for _ in range(60):
        session.speak(UNSURE_S)
        session.pause()
    for _ in range(500):
        session.frame()
    assert session.problem is None
    for _ in range(4):
        session.speak(4.0)
        session.pause()
    assert isinstance(session.problem, SttDeaf)


def test_a_word_counts_for_all_speech_before_it() -> None:
    session = Session()
    for _ in range(5):
        session.speak(9.0)
        session.health.word("word", None, session.now)
        session.pause()
    assert session.problem is None


def test_a_suspect_is_judged_sooner_until_it_sends_a_word() -> None:
    session = Session(StreamHealth(SUSPECT))
    session.speak(5.0 + UNSURE_S + 1.0)
    assert isinstance(session.problem, SttDeaf)
    session = Session(StreamHealth(SUSPECT))
    session.speak(1.0, "word")
    session.speak(8.0)
    assert session.problem is None


def test_speech_without_a_word_in_earlier_streams_counts_too() -> None:
    session = Session(StreamHealth(silent_s=5.0))
    session.speak(5.0 + UNSURE_S + 1.0)
    assert isinstance(session.problem, SttDeaf)
    assert session.health.silent_s >= 10.0


@pytest.mark.parametrize("punctuated", [("loop", "Loop,", "loop."), ("loop",)])
def test_one_word_without_end_is_a_loop(punctuated: tuple[str, ...]) -> None:
    session = Session()
    session.speak(3.0, *COUNTING)
    session.speak(12.0, *punctuated * 30)
    assert isinstance(session.problem, SttRepeating)


@pytest.mark.parametrize(
    "words",
    [("no",) * 14, ("one", "two"), tuple(COUNTING), ("no", "no", "no", "no", "well") * 20],
    ids=["insists", "repeats", "counts", "alternates"],
)
def test_someone_who_counts_or_insists_is_not_a_loop(words: tuple[str, ...]) -> None:
    session = Session()
    for _ in range(3):
        session.speak(len(words) * 0.3, *words, every_s=0.3)
        session.pause()
        session.speak(1.0, "well")
    assert session.problem is None


@pytest.mark.parametrize("rate", [0.1, 0.7, 0.95])
def test_a_server_that_falls_behind_is_slow_once_it_lags_by_more_than_ten_seconds(rate: float) -> None:
    session = Session(rate=rate)
    while session.problem is None:
        session.speak(1.0, *COUNTING)
        assert session.sent_s < 500
    assert isinstance(session.problem, SttSlow)
    assert 9 < session.sent_s - session.done_s < 14


def test_word_times_show_a_lag_where_the_server_reports_no_progress() -> None:
    health, now = StreamHealth(), 0.0
    for number in range(400):
        health.sent(round(FRAME_S * SAMPLE_RATE), now)
        now += FRAME_S
        if number % 5 == 0:
            health.word(str(number), now * 0.6, now)
    assert isinstance(health.check(None, now), SttSlow)


@pytest.mark.parametrize("time_s", [lambda now: 0.0, lambda now: now % 3.0, lambda now: None], ids=["zero", "reset", "none"])
def test_word_times_that_are_not_those_of_the_stream_show_nothing(time_s: Callable[[float], float | None]) -> None:
    health, now = StreamHealth(), 0.0
    for number in range(400):
        health.sent(round(FRAME_S * SAMPLE_RATE), now)
        now += FRAME_S
        if number % 5 == 0:
            health.word(str(number), time_s(now), now)
        assert health.check(None, now) is None


def test_a_server_that_catches_up_is_not_slow() -> None:
    session = Session(rate=1.8)
    session.speak(120.0, *COUNTING, speed=4.0)
    assert session.health.lag_s > 10
    session.speak(60.0, *COUNTING)
    assert session.problem is None
    assert session.sent_s - session.done_s < 30


def test_a_hiccup_is_not_slowness() -> None:
    session = Session(rate=4.0)
    session.speak(20.0, *COUNTING)
    session.rate = 0.0
    session.speak(6.0)
    session.rate = 4.0
    session.speak(20.0, *COUNTING)
    assert session.problem is None


def test_time_without_audio_is_no_lag() -> None:
    session = Session()
    session.speak(3.0, *COUNTING)
    session.now += 60.0
    session.speak(3.0, *COUNTING)
    session.pause(60.0)
    session.speak(3.0, *COUNTING)
    assert session.problem is None


def test_of_an_engine_that_may_be_late_only_answers_count() -> None:
    session = Session(StreamHealth(answers_only=True), reports=False)
    session.speak(60.0)
    assert session.problem is None
    session.pause()
    assert isinstance(session.check(), SttDeaf)


def test_a_server_that_speaks_before_it_was_sent_audio_is_no_problem() -> None:
    health = StreamHealth()
    health.flush_sent(0.0)
    assert health.word("early", 0.1, 0.1)
    health.flush_answered()
    assert health.check(0.0, 0.2) is None
    assert health.lag_s == 0.0


def test_punctuation_is_no_word() -> None:
    session = Session()
    session.speak(14.0, "…", ".")
    assert isinstance(session.problem, SttDeaf)
    assert not session.health.word(" , ", None, session.now)


def test_memory_is_bounded() -> None:
    session = Session(rate=0.0, reports=False)
    for _ in range(100):
        session.speak(60.0)
        session.health.flush_sent(session.now)
    assert len(session.health._unheard) + len(session.health._lagging) + len(session.health._flushes) < 2000
