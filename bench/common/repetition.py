# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Words that are shown more often than they were said. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def repeated(said: Sequence[str], shown: Sequence[str], length: int = 3) -> list[tuple[str, ...]]:
    """The sequences of `length` words that were said once and are shown more than once, in the order of the captions.

    Among them are words that were misheard and then read like others, far away.
    """
    spoken, seen = Counter(_sequences(said, length)), Counter(_sequences(shown, length))
    return [words for words, count in seen.items() if count > 1 and spoken[words] == 1]


def doubled(said: Sequence[str], shown: Sequence[str], length: int = 3) -> list[tuple[str, ...]]:
    """Those of `repeated` of which one copy was added to the reference, by most of its words."""
    added = _added(said, shown)
    wanted = set(repeated(said, shown, length))
    found = (
        words
        for at, words in enumerate(_sequences(shown, length))
        if words in wanted and 2 * sum(added[at : at + length]) > length
    )
    return list(dict.fromkeys(found))


def _added(said: Sequence[str], shown: Sequence[str]) -> list[bool]:
    """For each word of `shown`, whether it is an insertion in the alignment with the fewest errors."""
    # 1. The fewest errors between the first words of both.
    rows = [list(range(len(shown) + 1))]
    for index, expected in enumerate(said, 1):
        above, row = rows[-1], [index]
        for column, word in enumerate(shown, 1):
            row.append(min(above[column - 1] + (expected != word), above[column] + 1, row[-1] + 1))
        rows.append(row)
    # 2. Back from the end, along one alignment.
    added = [False] * len(shown)
    index, column = len(said), len(shown)
    while column:
        if index and rows[index][column] == rows[index - 1][column - 1] + (said[index - 1] != shown[column - 1]):
            index, column = index - 1, column - 1
        elif index and rows[index][column] == rows[index - 1][column] + 1:
            index -= 1
        else:
            column -= 1
            added[column] = True
    return added


def _sequences(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]
