# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Names of files for a transcript, valid in Nextcloud and on every system that synchronises it. Pure."""

from __future__ import annotations

import unicodedata
from datetime import datetime

from live_transcription.transcripts.clean import clean

#: Maximum bytes of a name. Nextcloud and most file systems allow 250; the rest is for what synchronisation adds to a name.
MAX_BYTES = 240
#: Characters that Windows or Nextcloud refuse, except space.
_REFUSED = frozenset('/\\:*?"<>|')


def file_stem(title: str, begins: datetime, *, number: int = 1, untitled: str = "Conversation", ending: str = ".json") -> str:
    """The name without its ending, such as `2026-11-28 14-03 Weekly meeting`. `begins`: local time of the beginning.

    `number` above 1 distinguishes transcripts that would have the same name. `ending`: the longest one that will be added.
    The date comes first, so that no name is reserved by Windows (CON, NUL) or hidden (a leading dot).
    """
    head = f"{begins:%Y-%m-%d %H-%M} "
    tail = f" ({number})" if number > 1 else ""
    title = clean("".join("-" if character in _REFUSED else character for character in title), 255)
    room = MAX_BYTES - len((head + tail + ending).encode())
    # Windows ignores dots and spaces at the end.
    short = _cut(title, room).strip(" .") or _cut(untitled, room)
    return f"{head}{short}{tail}"


def _cut(text: str, max_bytes: int) -> str:
    """At most so many bytes, without a half emoji or letter at the end."""
    if len(text.encode()) <= max_bytes:
        return text
    text = text.encode()[:max_bytes].decode(errors="ignore")
    # The last letter may continue after the cut: leave it out, with what is joined to it.
    while text and (_joins(text[-1]) or (len(text) > 1 and text[-2] == "\u200d")):
        text = text[:-1]
    return text[:-1]


def _joins(character: str) -> bool:
    """Whether a character belongs to the one before it, or to the one after it."""
    return (
        unicodedata.combining(character) > 0
        or character in "\u200c\u200d\ufe0e\ufe0f"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
    )
