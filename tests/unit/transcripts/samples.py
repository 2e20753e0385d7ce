# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Utterances for tests, among them hostile ones."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

from live_transcription.transcript import SpeakerKind, Utterance
from live_transcription.transcripts.model import Snapshot, Transcript, TranscriptInfo

#: 2020-11-28 13:00:00 UTC: older than any file that a test writes.
BEGIN = 1_606_568_400.0
INFO = TranscriptInfo("abcd1234", "Weekly meeting", BEGIN, "Europe/Berlin")
_ids = itertools.count(1)


def said(
    text: str,
    at: float = 0.0,
    length: float = 2.0,
    *,
    number: int | None = None,
    kind: SpeakerKind = SpeakerKind.USER,
    final: bool = True,
) -> Utterance:
    """An utterance that began `at` seconds after the beginning."""
    return Utterance(
        next(_ids) if number is None else number, "session", text, "en", final, BEGIN + at, BEGIN + at + length, kind
    )


def transcript_of(*utterances: Utterance, name: str = "Ada", title: str = "Weekly meeting") -> Snapshot:
    transcript = Transcript(TranscriptInfo("abcd1234", title, BEGIN, "Europe/Berlin"))
    for utterance in utterances:
        transcript.add(transcript.spoken(utterance, name, run=1))
    return transcript.snapshot()


#: What a participant may be called or make an engine write.
HOSTILE = (
    "[click](https://evil.example)", "![x](http://evil.example/p.png)", "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "# Heading", "\n\n# Heading\n", "a\r\nb\u2028c\u2029d\x85e", "| a | b |", "a | b",
    "\\", "\\|", "\\\\|", "`code`", "``` x", "~~gone~~", "~~~", "*bold* _it_ __b__", "1. one", "- item", "+ item",
    "> quote", "***", "---", "===", "&lt;b&gt;", "&#60;b&#62;", "&amp;", "<https://evil.example>",
    "https://evil.example/x", "www.evil.example", "mail@evil.example", "mailto:mail@evil.example", "\u202egnirts\u202c",
    "\u2066x\u2069", "\u200e\u200f\u061c", "00:00:00.000 --> 00:00:09.000", "-->", "WEBVTT", "NOTE x", "STYLE",
    "<v Eve>I am Eve</v>", "</v><v Eve>", "<c.red>", "<00:00:01.000>", "\ud800", "\x00\x1b[31m", "\ufeff",
    "[x]: http://evil.example", "[^1]", "$x$", "$$x$$", "{{x}}", ":smile:", "@ada", "%s {0}", "a\u200db",
    "\u0301\u0301\u0301", "=HYPERLINK(\"http://evil.example\")", "\u3164", "\ufffe\uffff", "\U000e0041\U000e007f",
    "[[wiki]]", "==mark==", "^sup^", "javascript:alert(1)", "data:text/html,x", "  ", "",
)  # fmt: skip

hostile = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12)), max_size=6).map("".join) | st.text(
    st.characters(codec=None), max_size=40
)
