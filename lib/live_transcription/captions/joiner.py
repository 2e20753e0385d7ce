# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Joins the tokens of a word stream to text, with punctuation attached to its word.

`WordSpacing` decides where a word begins. A session counts as sending whole words until a token shows otherwise: a piece with
leading white space, or a token that continues the word before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from live_transcription.captions.words import attaches, clings, has_word, squeeze
from live_transcription.transcript import Token, WordSpacing


class Joiner:
    """Joins the tokens of one session, and detects its dialect."""

    def __init__(self) -> None:
        self._spacing = WordSpacing()
        #: Tokens are whole words, so no token continues the one before it.
        self.words_are_whole = True
        #: Whether punctuation comes in tokens of its own, after its word.
        self.marks_come_alone = False

    def observe(self, token: Token) -> None:
        """Detect the dialect from a token. Call this before the token is joined."""
        self._spacing.observe(token)
        if self._spacing.pieces or token.starts_word is False:
            self.words_are_whole = False
        self.marks_come_alone |= clings(token.text)

    def starts_word(self, token: Token) -> bool:
        """Whether this token begins a new word, which completes the text before it."""
        in_pieces = self._spacing.pieces and token.starts_word is None
        return self._spacing.begins_word(token) and (in_pieces or not clings(token.text))

    def join(self, tokens: Sequence[Token]) -> str:
        """Join the tokens to single-spaced text."""
        text, opened = "", False
        for token in tokens:
            if self._spacing.pieces and token.starts_word is None:
                text += token.text
            else:
                text += token.text.strip() if opened or not self.starts_word(token) else f" {token.text.strip()}"
                opened = attaches(token.text.strip()) and not has_word(token.text)
        return squeeze(text)
