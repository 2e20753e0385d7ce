# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Words that are shown more often than they were said. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def doubled(said: Sequence[str], shown: Sequence[str], length: int = 3) -> list[tuple[str, ...]]:
    """The sequences of `length` words that were said once and are shown more than once, in the order of the captions."""
    spoken, seen = Counter(_sequences(said, length)), Counter(_sequences(shown, length))
    return [words for words, count in seen.items() if count > 1 and spoken[words] == 1]


def _sequences(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]
