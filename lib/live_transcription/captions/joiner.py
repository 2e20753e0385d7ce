# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# ruff: noqa: RUF001 - typographic punctuation is what this file is about
"""Word streams to text: the two dialects of Kyutai's servers.

The native server and its specified proxy send pieces, where leading white space starts a word; the deployed proxy sends whole
words without it. Once a piece with leading white space has come, the session speaks pieces; until then, words.
"""

from __future__ import annotations

from collections.abc import Sequence

from live_transcription.captions.words import has_word, squeeze

_OPENING = frozenset("([{«“‘¿¡")
_SPACED = frozenset("-–—&+=/*#@")


class TokenText:
    """One token as the joiner needs it: `text`, and `starts_word` where the server says so."""

    __slots__ = ("starts_word", "text")

    def __init__(self, text: str, starts_word: bool | None) -> None:
        self.text = text
        self.starts_word = starts_word


class Joiner:
    """Joins the tokens of one stream; remembers its dialect."""

    def __init__(self) -> None:
        self.pieces = False

    def observe(self, token: TokenText) -> None:
        """Learn the dialect from a token, before it is joined."""
        if token.starts_word is None and token.text[:1].isspace() and token.text.strip():
            self.pieces = True

    def starts_word(self, token: TokenText) -> bool:
        """Whether this token begins a new word, so that the text before it may be cut off."""
        if token.starts_word is not None:
            return token.starts_word
        if self.pieces:
            return token.text[:1].isspace()
        return not clings(token.text)

    def words_are_whole(self, token: TokenText) -> bool:
        """Whether nothing that follows can continue this token's word."""
        return token.starts_word is None and not self.pieces

    def join(self, tokens: Sequence[TokenText]) -> str:
        """The text of the tokens, single-spaced."""
        parts: list[str] = []
        opened = False
        for token in tokens:
            word = token.text.strip()
            if not word:
                if self.pieces and token.text:
                    parts.append(" ")
                continue
            if parts and self.starts_word(token) and not opened:
                parts.append(" ")
            parts.append(token.text if self.pieces and token.starts_word is None else word)
            opened = not self.pieces and token.starts_word is None and len(word) == 1 and word in _OPENING
        return squeeze("".join(parts))


def clings(text: str) -> bool:
    """Punctuation of its own that belongs to the word before it."""
    word = text.strip()
    return bool(word) and not has_word(word) and word[0] not in _OPENING and word[0] not in _SPACED
