# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import msgpack
import numpy as np
import pytest

from live_transcription.errors import SttAtCapacity, SttExpired, SttStalled, SttUnavailable, SttWrongModel
from live_transcription.stt.kyutai.moshi.protocol import LAST_WORD_S, STALL_S, MoshiSession
from live_transcription.transcript import Flushed, Pause, SttEvent, Token
from tests.fakes.stt_counts import SttCounts

FRAME = np.full(1920, 0.25, np.float32)


def say(session: MoshiSession, now: float = 0.0, **message: object) -> list[SttEvent]:
    return list(session.receive(msgpack.packb(message), now))


def step(session: MoshiSession, now: float = 0.0, pause: float = 0.0) -> list[SttEvent]:
    return say(session, now, type="Step", step_idx=0, prs=[0.0, 0.0, pause, 0.0], buffered_pcm=0)


def word(session: MoshiSession, text: str, start_s: float = 0.0, now: float = 0.0) -> list[SttEvent]:
    return say(session, now, type="Word", text=text, start_time=start_s)


def spoken(steps: int) -> MoshiSession:
    """A session that has transcribed so many steps of speech."""
    session = MoshiSession(0.0)
    for _ in range(steps):
        session.send(FRAME, 0.0)
        step(session)
    return session


def test_the_ready_message_opens_the_session() -> None:
    session = MoshiSession(0.0)
    assert not session.ready
    assert say(session, type="Ready") == []
    assert session.ready


def test_words_are_emitted_and_other_messages_are_not() -> None:
    session = spoken(20)
    assert word(session, " Hello,", 0.4) == [Token("Hello,", True, 0.4)]
    assert word(session, "  ") == []
    assert say(session, type="EndWord", stop_time=0.7) == []
    assert say(session, type="Marker", id=1) == []


def test_a_flush_is_done_when_its_silence_is_transcribed() -> None:
    session = spoken(10)
    session.send(FRAME[:700], 0.0)
    messages = session.flush(0.0)
    assert len(messages) == 1 + 8
    padded = msgpack.unpackb(messages[0])["pcm"]
    assert (len(padded), sum(padded[700:])) == (1920, 0)
    for _ in range(8):
        assert step(session) == []
    assert step(session) == [], "a word of this step may follow"
    assert word(session, "end") == [Token("end", True, 0.0)]
    assert session.next_deadline() == LAST_WORD_S
    assert session.tick(LAST_WORD_S) == [Flushed()]
    assert session.acknowledged_s == pytest.approx(0.8 + 700 / 24000)
    assert session.next_deadline() is None


def test_a_pause_during_a_flush_does_not_count() -> None:
    session = spoken(20)
    word(session, "end")
    session.flush(0.0)
    events = [event for _ in range(30) for event in step(session, pause=0.9)]
    assert events == [Flushed()]
    assert session.tick(LAST_WORD_S) == []


def test_two_flushes_are_answered_in_order() -> None:
    session = spoken(5)
    session.flush(0.0)
    session.send(FRAME, 0.0)
    session.flush(0.0)
    answered = [number for number in range(1, 18) for _ in step(session)]
    assert answered == [9]
    assert session.tick(LAST_WORD_S) == [Flushed()]


def test_a_flush_without_progress_is_a_stall_so_that_its_audio_is_sent_again() -> None:
    session = spoken(10)
    session.send(FRAME, 1.0)
    session.flush(1.0)
    step(session, now=2.0)
    assert session.next_deadline() == 2.0 + STALL_S
    assert session.tick(1.9 + STALL_S) == []
    with pytest.raises(SttStalled):
        session.tick(2.0 + STALL_S)


def test_end_flushes_the_remaining_audio() -> None:
    session = spoken(3)
    assert len(session.end(0.0)) == 8
    assert not session.ended
    for _ in range(8):
        step(session)
    assert not session.ended, "a last word may follow"
    session.tick(LAST_WORD_S)
    assert session.ended
    assert MoshiSession(0.0).end(0.0) == []


def test_acknowledged_audio_lags_behind_the_steps_by_the_models_delay() -> None:
    assert spoken(0).acknowledged_s == 0
    assert spoken(7).acknowledged_s == 0
    assert spoken(107).acknowledged_s == pytest.approx(8.0)


def test_a_pause_is_emitted_once_and_after_the_words_before_it() -> None:
    session = spoken(20)
    word(session, "last")
    assert step(session, pause=0.61) == []
    for _ in range(4):
        assert step(session, pause=0.9) == []
    assert word(session, "late") == [Token("late", True, 0.0)]
    assert step(session, pause=0.9) == []
    assert step(session, pause=0.9) == [Pause()]
    assert [event for _ in range(20) for event in step(session, pause=0.9)] == []


@pytest.mark.parametrize(("steps", "words", "pause"), [(5, True, 0.9), (20, False, 0.9), (20, True, 0.6)])
def test_no_pause_at_the_start_without_words_or_when_uncertain(steps: int, words: bool, pause: float) -> None:
    session = spoken(steps)
    if words:
        word(session, "word")
    assert [event for _ in range(7) for event in step(session, pause=pause)] == []


def test_times_do_not_include_the_silence_of_flushes() -> None:
    session = spoken(10)
    session.flush(0.0)
    assert word(session, "next", 0.8 + 0.64 + 0.2) == [Token("next", True, pytest.approx(1.0))]


def test_a_full_and_a_failed_server_raise_different_errors() -> None:
    with pytest.raises(SttAtCapacity, match="no free channels"):
        say(MoshiSession(0.0), type="Error", message="no free channels")
    with pytest.raises(SttUnavailable, match="model fault"):
        say(MoshiSession(0.0), type="Error", message="model\nfault")


def test_a_server_that_accepts_audio_without_steps_counts_as_stalled() -> None:
    session = spoken(10)
    assert session.next_deadline() is None
    session.send(FRAME, 50.0)
    assert session.next_deadline() == 50.0 + STALL_S
    assert session.tick(50.0 + STALL_S - 0.1) == []
    with pytest.raises(SttStalled):
        session.tick(50.0 + STALL_S)


def test_a_close_after_long_silence_means_that_the_session_was_idle() -> None:
    session = MoshiSession(0.0)
    session.send(FRAME, 10.0)
    assert type(session.closed(1000, 20.0)) is SttUnavailable
    assert type(session.closed(None, 125.0)) is SttExpired
    assert not session.replaceable(1e9)


def test_nonsense_is_counted_by_kind() -> None:
    counts = SttCounts()
    session = MoshiSession(0.0)
    for message in ("text", b"\xc1", msgpack.packb({"type": "?"}), b"\x00" * 100_000):
        assert session.receive(message, 0.0) == []
    assert counts.ignored == {"garbage": 2, "unknown": 1, "huge": 1}


def test_words_without_any_step_show_a_model_that_cannot_be_used() -> None:
    session = MoshiSession(0.0)
    for _ in range(33):
        session.send(FRAME, 0.0)
    with pytest.raises(SttWrongModel, match="stt-1b-en_fr") as refused:
        word(session, "late")
    assert not refused.value.retryable


def test_a_marker_that_comes_back_without_any_step_shows_the_same() -> None:
    session = MoshiSession(0.0)
    marker, *silence = session.probe(0.0)
    assert msgpack.unpackb(marker) == {"type": "Marker", "id": 1}
    assert len(silence) > 32  # the delay of the 2.6B model
    with pytest.raises(SttWrongModel):
        say(session, type="Marker", id=1)


def test_a_marker_that_was_not_asked_for_means_nothing() -> None:
    session = MoshiSession(0.0)
    assert say(session, type="Marker", id=1) == []
    session.probe(0.0)
    assert say(session, type="Marker", id=2) == []
    step(session)
    assert say(session, type="Marker", id=1) == []
    assert session.stepped
