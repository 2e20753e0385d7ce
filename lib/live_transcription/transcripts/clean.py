# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Makes text of participants harmless and printable, before it is stored or rendered. Pure."""

from __future__ import annotations

import unicodedata

#: Format characters that spelling needs: the joiners of Persian, Indic scripts and emoji, and the signs of Arabic numbers.
_KEPT = frozenset("\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
#: Letters and symbols without an image.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_SPACES = frozenset({"Cc", "Zl", "Zp", "Zs"})


def clean(text: str, limit: int) -> str:
    """A single line of at most `limit` characters, without control characters, bidirectional overrides and surrogates."""
    # A canonical composition is at most three times shorter, and space may be dropped.
    found = unicodedata.normalize("NFC", text[: 4 * limit])
    line = " ".join("".join(map(_clean_character, found)).split())
    return line[:limit].rstrip()


def _clean_character(character: str) -> str:
    if " " <= character <= "~":
        return character
    category = unicodedata.category(character)
    if category in _SPACES or character in _BLANK:
        return " "
    if category == "Cs" or (category == "Cf" and character not in _KEPT) or ord(character) & 0xFFFE == 0xFFFE:
        return ""
    return "" if 0xFDD0 <= ord(character) <= 0xFDEF else character
