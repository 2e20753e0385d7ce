# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.errors import SttAtCapacity, SttExpired, SttStalled, SttStarting, SttUnavailable
from live_transcription.stt.kyutai.modal.protocol import END_LIMIT_S, FLUSH_TIMEOUT_S, SILENT_S, STALL_S, ModalSession
from live_transcription.transcript import Flushed, Pause, SttEvent, Token
from tests.fakes.stt_counts import SttCounts


def frame(samples: int = 1920, value: float = 0.25) -> np.ndarray:
    return np.full(samples, value, np.float32)


def token(session: ModalSession, text: str, now: float, **more: object) -> list[SttEvent]:
    return list(session.receive(json.dumps({"type": "token", "text": text, **more}), now))


def sent(messages: object) -> np.ndarray:
    assert isinstance(messages, list)
    assert all(len(message) == 7680 for message in messages)
    return np.concatenate([np.frombuffer(message, "<f4") for message in messages] or [np.empty(0, np.float32)])


@given(st.lists(st.integers(0, 6000), max_size=12))
def test_audio_of_any_length_goes_out_in_steps_of_80_ms(lengths: list[int]) -> None:
    session = ModalSession(0.0)
    audio = [np.random.default_rng(length).uniform(-1, 1, length).astype(np.float32) for length in lengths]
    out = [sent(session.send(part, 0.0)) for part in audio]
    rest = sent(session.flush(0.0)) if any(lengths) else np.empty(0)
    whole = np.concatenate([*out, rest]) if out else rest
    said = np.concatenate(audio) if audio else np.empty(0)
    assert np.array_equal(whole[: len(said)], said)
    assert not whole[len(said) :].any()
    if len(said):
        assert 8 * 1920 <= len(whole) - len(said) < 9 * 1920


def test_text_is_emitted_unchanged() -> None:
    session = ModalSession(0.0)
    assert token(session, " Hel", 1.0) + token(session, "lo", 1.1) == [Token(" Hel"), Token("lo")]
    assert token(session, "World", 1.2, start_s=0.5, end_s=0.9) == [Token("World", None, 0.5, 0.9)]


def test_times_do_not_include_the_silence_of_flushes() -> None:
    session = ModalSession(0.0)
    for _ in range(10):
        session.send(frame(), 0.0)
    session.flush(0.0)
    # 0.8 s of speech, 0.64 s of silence.
    assert token(session, "next", 1.0, start_s=1.64) == [Token("next", None, pytest.approx(1.0))]


def test_a_repeated_token_with_the_same_time_is_dropped_but_a_repeated_word_is_not() -> None:
    session = ModalSession(0.0)
    assert len(token(session, "no", 1.0, start_s=0.5)) == 1
    assert token(session, "no", 1.0, start_s=0.5) == []
    assert len(token(session, "no", 1.0, start_s=0.7)) == 1
    assert len(token(session, "no", 1.0)) == len(token(session, "no", 1.0)) == 1


def test_a_pause_needs_words_before_it() -> None:
    session = ModalSession(0.0)
    assert session.receive('{"type": "vad_end"}', 0.0) == []
    token(session, "Hello", 1.0)
    assert session.receive('{"type": "vad_end"}', 1.2) == [Pause()]
    assert session.receive('{"type": "vad_end"}', 1.4) == []
    assert session.receive('{"text": "Bye", "vad_end": true}', 2.0) == [Token("Bye"), Pause()]


def test_final_ends_an_utterance_unless_every_token_is_final() -> None:
    every = ModalSession(0.0)
    assert every.receive('{"text": "a", "final": true}', 0.0) == [Token("a")]
    assert every.receive('{"text": "b", "final": true}', 0.0) == [Token("b")]
    some = ModalSession(0.0)
    assert some.receive('{"text": "a", "final": false}', 0.0) == [Token("a")]
    assert some.receive('{"text": "b", "final": true}', 0.0) == [Token("b"), Pause()]


def test_a_flush_is_done_after_the_models_delay_and_a_moment_without_text() -> None:
    session = ModalSession(0.0)
    assert session.next_deadline() is None
    session.send(frame(), 10.0)
    assert len(session.flush(10.0)) == 8
    assert session.tick(10.4) == []
    assert session.next_deadline() == pytest.approx(10.48)
    token(session, "late", 10.45)
    assert session.next_deadline() == pytest.approx(10.75)
    assert session.tick(10.74) == []
    assert session.tick(10.75) == [Flushed()]
    assert session.next_deadline() is None


def test_a_flush_ends_even_while_text_keeps_coming() -> None:
    session = ModalSession(0.0)
    session.send(frame(), 10.0)
    session.flush(10.0)
    now = 10.0
    while not session.tick(now):
        token(session, "more", now)
        now += 0.1
        assert now < 20
    assert now == pytest.approx(10 + FLUSH_TIMEOUT_S, abs=0.11)


def test_two_flushes_are_answered_in_order_and_an_empty_one_sends_no_audio() -> None:
    session = ModalSession(0.0)
    session.send(frame(), 0.0)
    session.flush(0.0)
    assert session.flush(0.3) == []
    assert session.tick(0.5) == [Flushed()]
    assert session.tick(0.8) == [Flushed()]


def test_end_flushes_the_remaining_audio() -> None:
    session = ModalSession(0.0)
    session.send(frame(100), 0.0)
    assert len(session.end(0.0)) == 9
    assert not session.ended
    session.receive('{"type": "ping"}', 0.1)
    assert session.tick(1.4) == []
    assert session.tick(1.5) == [Flushed()]
    assert session.ended
    quiet = ModalSession(0.0)
    assert quiet.end(0.0) == []
    assert quiet.ended


def ready(now: float = 0.0) -> ModalSession:
    session = ModalSession(now)
    session.receive('{"type": "ready", "delay_s": 0.48, "sample_rate": 24000}', now)
    return session


def test_the_end_waits_while_words_still_arrive() -> None:
    session = ModalSession(0.0)
    session.send(frame(), 0.0)
    token(session, "first", 1.0)
    session.end(2.0)
    now = 2.0
    while now < 30.0:
        assert session.tick(now) == []
        now += FLUSH_TIMEOUT_S - 0.1
        token(session, "late", now)
    assert session.tick(now + FLUSH_TIMEOUT_S) == [Flushed()]
    assert session.ended


def test_words_that_arrive_after_the_last_flush_keep_the_end_open() -> None:
    session = ModalSession(0.0)
    session.send(frame(), 0.0)
    session.flush(0.0)
    assert session.tick(0.5) == [Flushed()]
    token(session, "late", 1.0)
    assert session.end(1.5) == []
    assert not session.ended
    token(session, "later", 2.4)
    assert session.tick(3.8) == []
    assert session.tick(3.9) == [Flushed()]
    assert session.ended


def test_the_end_has_a_limit_however_many_words_arrive() -> None:
    session = ModalSession(0.0)
    session.send(frame(), 0.0)
    session.end(0.0)
    now = 0.0
    while not session.tick(now):
        token(session, "more", now)
        now += 0.5
    assert now == pytest.approx(END_LIMIT_S, abs=0.6)


def test_a_server_that_has_not_said_anything_gets_more_time_at_the_end() -> None:
    session = ModalSession(0.0)
    session.send(frame(), 0.0)
    session.end(0.0)
    assert session.next_deadline() == SILENT_S


def test_a_session_with_words_on_their_way_is_not_replaceable() -> None:
    session = ModalSession(0.0, rotate_after_s=10.0)
    token(session, "late", 10.0)
    assert not session.replaceable(11.0)
    assert session.replaceable(11.5)


def test_a_proxy_that_announces_itself_is_asked_for_done() -> None:
    session = ready()
    session.send(frame(), 1.0)
    session.send(frame(100), 1.0)
    audio, end = session.flush(1.0)
    assert len(audio) == 7680
    assert end == '{"type":"end"}'
    session.receive('{"type": "ping"}', 11.0)
    assert session.tick(20.0) == []
    # The proxy has inserted 1820 samples and 0.64 s, which are no time of the stream.
    assert token(session, "next", 20.0, start_s=0.8) == [Token("next", None, pytest.approx(0.8 - 1820 / 24_000 - 0.64))]
    assert session.receive('{"type": "done"}', 20.0) == [Flushed()]
    assert session.receive('{"type": "done"}', 20.0) == []
    assert session.end(21.0) == []
    assert session.ended


def test_a_proxy_without_a_delay_is_not_sent_any_text() -> None:
    session = ModalSession(0.0)
    session.receive('{"type": "ready"}', 0.0)
    session.send(frame(), 1.0)
    assert len(session.flush(1.0)) == 8


def test_flushes_without_audio_between_them_share_an_answer() -> None:
    session = ready()
    session.send(frame(), 1.0)
    assert session.flush(1.0) == ['{"type":"end"}']
    assert session.flush(1.1) == []
    session.send(frame(), 1.2)
    assert session.end(1.2) == ['{"type":"end"}']
    assert session.receive('{"type": "done"}', 2.0) == [Flushed(), Flushed()]
    assert not session.ended
    assert session.receive('{"type": "done"}', 2.1) == [Flushed()]
    assert session.ended
    nothing_sent = ready()
    nothing_sent.flush(1.0)
    assert nothing_sent.tick(1.5) == [Flushed()]


def test_a_proxy_that_does_not_answer_end_has_stalled() -> None:
    session = ready()
    session.send(frame(), 1.0)
    session.flush(1.0)
    assert session.next_deadline() == 13.0
    session.receive('{"type": "ping"}', 11.0)
    assert session.next_deadline() == 23.0
    with pytest.raises(SttStalled):
        session.tick(23.0)


def test_pings_alone_do_not_keep_a_flush_open_for_ever() -> None:
    session = ready()
    session.send(frame(), 0.0)
    session.flush(0.0)
    for now in range(0, 180, 10):
        session.receive('{"type": "ping"}', float(now))
        assert session.tick(now) == []
    with pytest.raises(SttStalled):
        session.tick(180.0)


def test_a_model_that_restarts_is_starting_and_not_full() -> None:
    message = '{"type":"error","code":"model_unavailable","message":"The model server frees no slots: its model loop is dead."}'
    with pytest.raises(SttStarting):
        ModalSession(0.0).receive(message, 0.0)


def test_a_server_that_never_answers_counts_as_stalled() -> None:
    session = ModalSession(0.0)
    now = 0.0
    with pytest.raises(SttStalled):  # noqa: PT012 - whenever it is
        while now < 60:
            session.send(frame(), now)
            session.receive('{"type": "ping"}', now)
            session.tick(now)
            now += 0.08
    assert 19 < now < 21


def test_a_server_that_reports_progress_has_not_stalled_although_nobody_says_a_word() -> None:
    session = ModalSession(0.0)
    now = 0.0
    while now < 90:
        session.send(frame(), now)
        if int(now) % 10 == 0:
            session.receive(f'{{"type": "ping", "audio_s": {now}}}', now)
        assert session.tick(now) == []
        now += 0.08
    with pytest.raises(SttStalled):  # noqa: PT012 - whenever it is
        while now < 120:
            session.send(frame(), now)
            session.receive('{"type": "ping", "audio_s": 81.0}', now)
            session.tick(now)
            now += 0.08


def test_a_replay_at_full_speed_leaves_time_for_the_answer() -> None:
    session = ModalSession(0.0)
    for _ in range(400):
        session.send(frame(), 1.0)
    assert session.next_deadline() == pytest.approx(STALL_S)
    assert session.tick(5.9) == []
    token(session, "there", 5.95)
    assert session.next_deadline() is None


def test_an_error_of_the_server_ends_the_stream_with_the_error_of_its_kind() -> None:
    for said, kind in (("no free channels", SttAtCapacity), ("session expired", SttExpired), ("boom", SttUnavailable)):
        with pytest.raises(kind, match=said):
            ModalSession(0.0).receive(f'{{"type": "error", "message": "{said}"}}', 0.0)


def test_nonsense_is_counted_by_kind() -> None:
    counts = SttCounts()
    session = ModalSession(0.0)
    for message in ("{", '{"type": "x"}', "y" * 100_000, b"\x00\x01"):
        assert session.receive(message, 0.0) == []
    assert counts.ignored == {"garbage": 2, "unknown": 1, "huge": 1}


def test_the_history_of_the_session_explains_its_close() -> None:
    session = ModalSession(100.0, rotate_after_s=1500)
    assert type(session.closed(1000, 100.1)) is SttUnavailable
    session.send(frame(), 101.0)
    assert type(session.closed(1000, 102.0)) is SttAtCapacity
    token(session, "hello", 102.0)
    assert type(session.closed(1000, 102.5)) is SttUnavailable
    assert type(session.closed(1000, 126.5)) is SttExpired
    session.send(frame(), 100 + 29 * 60)
    assert type(session.closed(1000, 100 + 29 * 60 + 1)) is SttExpired
    assert not session.replaceable(1599.0)
    assert session.replaceable(1600.0)
