# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from live_transcription.stt.base import Token
from live_transcription.stt.resilient.open_utterance import RECALL_S, TOKEN_LIMIT, OpenUtterance, Replay
from live_transcription.types import SAMPLE_RATE


def at(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def told(*positions: float) -> OpenUtterance:
    utterance = OpenUtterance()
    for number, position in enumerate(positions):
        utterance.token(Token(f"w{number}"), at(position))
    return utterance


def test_begins_again_at_the_closed_point() -> None:
    utterance = told(1, 2, 3)
    assert utterance.is_open
    assert utterance.restart(oldest=0, heard=at(4)) == Replay(0, ())
    assert utterance.taken_back()
    assert not utterance.is_open
    utterance.token(Token("again"), at(5))
    utterance.close(at(6))
    assert not utterance.is_open
    assert not utterance.taken_back()
    assert utterance.restart(oldest=0, heard=at(7)) == Replay(at(6), ())


def test_what_is_no_longer_held_is_told_again_and_cut_between_words() -> None:
    utterance = told(1, 2, 3, 3.3, 6, 6.3, 6.6, 9, 12)
    replay = utterance.restart(oldest=at(2.5), heard=at(12))
    assert replay.position == at(3.3)
    assert [token.text for token in replay.tokens] == ["w0", "w1", "w2", "w3"]
    # A second break before anything more was told: still nothing is left out.
    again = utterance.restart(oldest=at(2.5), heard=at(12))
    assert len(again.tokens) == 2 or again.position >= at(3)


def test_hears_again_no_more_than_the_last_seconds() -> None:
    utterance = told(*range(1, 100))
    replay = utterance.restart(oldest=0, heard=at(99))
    assert at(99 - RECALL_S) <= replay.position <= at(99 - RECALL_S / 2)
    assert len(replay.tokens) == replay.position // SAMPLE_RATE


def test_positions_never_go_back_and_memory_is_bounded() -> None:
    utterance = told(5, 3)
    assert utterance.last_word == at(5)
    utterance.close(at(2))
    utterance.close(at(1))
    assert utterance.closed == at(2)
    for number in range(3 * TOKEN_LIMIT):
        utterance.token(Token("w"), number)
    assert len(utterance.restart(oldest=10**9, heard=10**9).tokens) == TOKEN_LIMIT


def test_a_flush_bounds_the_words_before_it_where_their_times_say_that_they_are() -> None:
    utterance = OpenUtterance()
    utterance.token(Token("early", start_s=1.0), at(6))
    assert utterance.last_word == at(6)
    assert utterance.last_word_by(at(2)) == at(2)
    assert utterance.last_word_by(at(9)) == at(6)
    assert utterance.last_word_by(at(0.5)) == at(6), "a word from behind the flush came before its answer"
    utterance.token(Token("who knows"), at(7))
    assert utterance.last_word_by(at(2)) == at(7)
    utterance.close(at(7))
    assert utterance.last_word_by(at(2)) == at(7)
