# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from live_transcription.stt.resilient.open_utterance import LEAD_S, RECALL_S, TOKEN_LIMIT, WORD_S, OpenUtterance, Replay
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


def test_tokens_whose_audio_is_gone_are_repeated_and_the_cut_is_in_the_widest_gap() -> None:
    utterance = emitted(1, 2, 3, 3.3, 6, 6.3, 6.6, 8, 10.5)
    replay = utterance.restart(oldest=at(2.5), acknowledged=at(12))
    assert replay.position == at(3.3 + WORD_S), "a second after the start of a word of unknown length"
    assert [token.text for token in replay.tokens] == ["w0", "w1", "w2", "w3"]
    # A second break before any further token begins at the same position.
    assert utterance.restart(oldest=at(2.5), acknowledged=at(12)) == replay
    assert utterance.restart(oldest=at(5), acknowledged=at(12)) == Replay(at(5), replay.tokens)


def timed(*words: tuple[float, float | None]) -> OpenUtterance:
    """Words with these starts and ends, each emitted 0.2 s after its start."""
    utterance = OpenUtterance()
    for number, (start_s, end_s) in enumerate(words):
        utterance.add(Token(f"w{number}", True, start_s, end_s), at(start_s + 0.2))
    return utterance


def test_the_cut_is_at_the_end_of_a_word_or_right_before_the_next_one() -> None:
    ends = timed((1, 1.5), (2, 2.7), (4, 4.3), (5, 5.5)).restart(oldest=at(1.7), acknowledged=at(6))
    assert ends == Replay(at(2.7), ends.tokens)
    assert len(ends.tokens) == 2
    starts = timed((1, None), (2, None), (2.8, None), (3.2, None)).restart(oldest=at(1.9), acknowledged=at(3.4))
    assert starts == Replay(at(2.8 - LEAD_S), starts.tokens)
    assert len(starts.tokens) == 2
    # The oldest audio begins within the word, and nothing tells where it ends. The next word matters more than its rest.
    assert timed((1, None)).restart(oldest=at(1.3), acknowledged=at(1.4)).position == at(1.3)


def test_the_cut_is_not_between_the_pieces_of_a_word() -> None:
    utterance = OpenUtterance()
    for text, start_s in ((" one", 1), (" twe", 2), ("lve", 4), (" six", 5), (" ten", 5.5)):
        utterance.add(Token(text, None, start_s), at(start_s + 0.2))
    replay = utterance.restart(oldest=at(1.8), acknowledged=at(5.7))
    assert [token.text for token in replay.tokens] == [" one", " twe", "lve"]


def test_times_that_cannot_be_true_leave_the_cut_within_the_audio() -> None:
    utterance = timed((1, 1e9), (2, 1e9), (1e9, 1e9), (0, 0.0), (4, None))
    replay = utterance.restart(oldest=at(1.8), acknowledged=at(5))
    assert at(1.8) <= replay.position <= at(1.8 + RECALL_S / 2)


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
