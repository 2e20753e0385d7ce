# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A transcript as Markdown: a heading and one table. Pure.

All text of participants is escaped, so that it stays text: in CommonMark, in GitHub's dialect with its automatic links, and
where HTML is passed through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from live_transcription.transcripts.labels import Labels, offset, words
from live_transcription.transcripts.model import Missing, Snapshot, Spoken

#: Markup within a line; no text of a participant begins one. A colon or a point makes an automatic link only within a word.
_MARKUP = re.compile(r"([\\`*_\[\]|~#^=${}@]|(?<=\w)[:.](?=[\w/])|:(?=/)|!(?=\[))")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def markdown(snapshot: Snapshot, labels: Labels | None = None) -> str:
    """The whole transcript, with a column for each language of translations."""
    labels = labels or Labels()
    info, languages = snapshot.info, snapshot.languages
    title = labels.heading.replace("{title}", _escape(info.title or labels.untitled))
    moment = info.local_time(info.started_at)
    begins = labels.begins.replace("{time}", f"{moment:%Y-%m-%d %H:%M:%S}").replace("{zone}", _escape(moment.tzname() or ""))
    columns = [labels.time, labels.offset, labels.speaker, labels.said]
    columns += [labels.translation.replace("{language}", _escape(language)) for language in languages]
    lines = [f"# {title}", "", begins, "", _row(columns), _row(["---"] * len(columns)), *_rows(snapshot, labels, languages)]
    return "\n".join(lines) + "\n"


def _rows(snapshot: Snapshot, labels: Labels, languages: Sequence[str]) -> Iterator[str]:
    for entry in snapshot.entries:
        time = f"{snapshot.info.local_time(entry.started_at):%H:%M:%S}"
        since = offset(entry.started_at - snapshot.info.origin)
        match entry:
            case Spoken():
                translations = [_escape(entry.translations.get(language, "")) for language in languages]
                yield _row([time, since, _escape(labels.name(entry)), _escape(words(entry)), *translations])
            case Missing():
                yield _row([time, since, _escape(entry.name), f"*{labels.gap(entry)}*", *([""] * len(languages))])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    """Cleaned text (`clean`) that no Markdown parser reads as anything but text."""
    return _MARKUP.sub(r"\\\1", text).translate(_ENTITIES)
