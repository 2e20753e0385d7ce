# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Joins the tokens of a word stream to text, in both dialects of Kyutai's servers.

The native server and the deployed proxy send whole words. The proxy's specification describes pieces of words, where leading
white space starts a word. A session is taken to send whole words until it sends a piece with leading white space, or a token
that continues the word before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from live_transcription.captions.words import attaches, clings, has_word, squeeze
from live_transcription.stt_events import Token


class Joiner:
    """Joins the tokens of one session, and detects its dialect."""

    def __init__(self) -> None:
        #: Whether tokens are pieces of words, where leading white space starts a word.
        self.pieces = False
        #: Whether tokens are whole words, so that no token continues the one before it.
        self.words_are_whole = True
        #: Whether punctuation comes in tokens of its own, after its word.
        self.marks_come_alone = False

    def observe(self, token: Token) -> None:
        """Detect the dialect from a token. Call this before the token is joined."""
        if token.starts_word is None and token.text[:1].isspace() and token.text.strip():
            self.pieces = True
        if self.pieces or token.starts_word is False:
            self.words_are_whole = False
        self.marks_come_alone |= clings(token.text)

    def starts_word(self, token: Token) -> bool:
        """Whether this token begins a new word, which completes the text before it."""
        if token.starts_word is not None:
            return token.starts_word and not clings(token.text)
        return token.text[:1].isspace() if self.pieces else not clings(token.text)

    def join(self, tokens: Sequence[Token]) -> str:
        """Join the tokens to single-spaced text."""
        text, opened = "", False
        for token in tokens:
            if self.pieces and token.starts_word is None:
                text += token.text
            else:
                text += token.text.strip() if opened or not self.starts_word(token) else f" {token.text.strip()}"
                opened = attaches(token.text.strip()) and not has_word(token.text)
        return squeeze(text)
