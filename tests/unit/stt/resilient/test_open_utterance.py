# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from live_transcription.stt.resilient.open_utterance import RECALL_S, TOKEN_LIMIT, OpenUtterance, Replay
from live_transcription.transcript import Token
from live_transcription.types import SAMPLE_RATE


def at(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def emitted(*positions: float) -> OpenUtterance:
    utterance = OpenUtterance()
    for number, position in enumerate(positions):
        utterance.add(Token(f"w{number}"), at(position))
    return utterance


def test_a_replay_begins_at_the_closed_point() -> None:
    utterance = emitted(1, 2, 3)
    assert utterance.is_open
    assert utterance.restart(oldest=0, acknowledged=at(4)) == Replay(0, ())
    assert utterance.retract()
    assert not utterance.is_open
    utterance.add(Token("again"), at(5))
    utterance.close(at(6))
    assert not utterance.is_open
    assert not utterance.retract()
    assert utterance.restart(oldest=0, acknowledged=at(7)) == Replay(at(6), ())


def test_tokens_whose_audio_is_gone_are_repeated_and_the_cut_is_between_words() -> None:
    utterance = emitted(1, 2, 3, 3.3, 6, 6.3, 6.6, 9, 12)
    replay = utterance.restart(oldest=at(2.5), acknowledged=at(12))
    assert replay.position == at(3.3)
    assert [token.text for token in replay.tokens] == ["w0", "w1", "w2", "w3"]
    # A second break before any further token still leaves nothing out.
    again = utterance.restart(oldest=at(2.5), acknowledged=at(12))
    assert len(again.tokens) == 2 or again.position >= at(3)


def test_only_the_last_seconds_are_transcribed_again() -> None:
    utterance = emitted(*range(1, 100))
    replay = utterance.restart(oldest=0, acknowledged=at(99))
    assert at(99 - RECALL_S) <= replay.position <= at(99 - RECALL_S / 2)
    assert len(replay.tokens) == replay.position // SAMPLE_RATE


def test_positions_never_decrease_and_memory_is_bounded() -> None:
    utterance = emitted(5, 3)
    assert utterance.last_word == at(5)
    utterance.close(at(2))
    utterance.close(at(1))
    assert utterance.closed == at(2)
    for number in range(3 * TOKEN_LIMIT):
        utterance.add(Token("w"), number)
    assert len(utterance.restart(oldest=10**9, acknowledged=10**9).tokens) == TOKEN_LIMIT


def test_a_flush_bounds_the_words_before_it_if_their_times_are_before_it() -> None:
    utterance = OpenUtterance()
    utterance.add(Token("early", start_s=1.0), at(6))
    assert utterance.last_word == at(6)
    assert utterance.last_word_by(at(2)) == at(2)
    assert utterance.last_word_by(at(9)) == at(6)
    assert utterance.last_word_by(at(0.5)) == at(6), "a word spoken after the flush arrived before its answer"
    utterance.add(Token("who knows"), at(7))
    assert utterance.last_word_by(at(2)) == at(7)
    utterance.close(at(7))
    assert utterance.last_word_by(at(2)) == at(7)
