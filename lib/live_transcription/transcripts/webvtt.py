# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A transcript as WebVTT (https://www.w3.org/TR/webvtt1/), to be used as a subtitle track of a recording. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from live_transcription.transcripts.labels import Labels, words
from live_transcription.transcripts.model import Missing, Snapshot, Spoken

#: Maximum number of characters of a cue, about three lines. A longer utterance becomes several cues.
CUE_CHARS = 120
#: Minimum seconds of a cue, and the seconds for which a gap is announced.
SHORTEST_S = 0.5
GAP_S = 5.0
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
#: Up to so many characters, to the last space if there is one.
_CHUNK = re.compile(rf"\S.{{0,{CUE_CHARS - 1}}}(?!\S)|\S.{{0,{CUE_CHARS - 1}}}")


def webvtt(snapshot: Snapshot, labels: Labels | None = None, *, recording_started_at: float | None = None) -> str:
    """The whole transcript. Cues are in the order of their beginning.

    Times count from `recording_started_at` (Unix time in seconds), and earlier words are left out. Without a recording
    they count from the same moment as the offsets.
    """
    labels = labels or Labels()
    origin = snapshot.info.origin if recording_started_at is None else recording_started_at
    cues = sorted(
        (
            (max(0, round((started_at - origin) * 1000)), round((ended_at - origin) * 1000), number, text)
            for number, (started_at, ended_at, text) in enumerate(_cues(snapshot, labels))
            if ended_at > origin
        ),
    )
    blocks = ["WEBVTT", *(f"{_time(start)} --> {_time(max(end, start + 1))}\n{text}" for start, end, _, text in cues)]
    return "\n\n".join(blocks) + "\n"


def _cues(snapshot: Snapshot, labels: Labels) -> Iterator[tuple[float, float, str]]:
    for entry in snapshot.entries:
        match entry:
            case Spoken():
                yield from _spoken(entry, _voice(labels.name(entry)))
            case Missing():
                text = f"[{labels.gap(entry)}]"
                if entry.name:
                    text = f"{entry.name}: {text}"
                yield entry.started_at, entry.started_at + min(GAP_S, max(SHORTEST_S, entry.seconds)), text.translate(_ENTITIES)


def _voice(name: str) -> str:
    """A voice span. Parsers trim the name, so a space may keep its last hyphens from forming an arrow with the bracket."""
    return f"<v {name.translate(_ENTITIES)}{' ' if name.endswith('-') else ''}>"


def _spoken(entry: Spoken, voice: str) -> Iterator[tuple[float, float, str]]:
    """The cues of an utterance, each with its share of the time."""
    text = words(entry)
    seconds = max(SHORTEST_S, entry.ended_at - entry.started_at) / len(text)
    for chunk in _CHUNK.finditer(text):
        yield (
            entry.started_at + chunk.start() * seconds,
            entry.started_at + chunk.end() * seconds,
            f"{voice}{chunk[0].translate(_ENTITIES)}",
        )


def _time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"
