# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What people say and call themselves stays text in every format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import webvtt as parser
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from live_transcription.transcript import Gap, GapReason, SpeakerKind
from live_transcription.transcripts.clean import clean
from live_transcription.transcripts.json_document import json_document
from live_transcription.transcripts.labels import Labels
from live_transcription.transcripts.markdown import markdown
from live_transcription.transcripts.model import Missing, Snapshot, Spoken, Transcript, TranscriptInfo
from live_transcription.transcripts.webvtt import CUE_CHARS, webvtt
from tests.unit.transcripts.samples import BEGIN, HOSTILE, INFO, hostile, said, transcript_of

_TABLE = {"table_open", "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close", "tr_open", "tr_close"}
_CELLS = {"th_open", "th_close", "td_open", "td_close"}
_BLOCKS = _TABLE | _CELLS | {"heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline"}


def meeting() -> Snapshot:
    transcript = Transcript(replace(INFO, call_started_at=BEGIN - 3600))
    transcript.add(transcript.spoken(said("Good morning.", 1.0, number=1), "Ada", run=1))
    transcript.add(transcript.spoken(said("Hello", 3.0, number=2, kind=SpeakerKind.GUEST, final=False), "", run=1))
    transcript.add(
        transcript.spoken(said("Hi", 5.0, number=3, kind=SpeakerKind.PHONE), "+49 30 1", run=1, translations={"fr": "Salut"})
    )
    transcript.add(Missing(GapReason.OUTAGE, BEGIN + 10, BEGIN + 90))
    transcript.add(Missing(GapReason.NOT_ADMITTED, BEGIN + 100, BEGIN + 104, "Bob"))
    return transcript.snapshot()


# Markdown.


def inline_of(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield from token.children or ()


def assert_only_text(source: str) -> list[Token]:
    """Parse as HTML-passing Markdown with tables; nothing but one heading, one line and one table may be in it."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(source)
    assert {token.type for token in tokens} <= _BLOCKS
    assert sum(token.type == "heading_open" for token in tokens) == 1
    assert sum(token.type == "table_open" for token in tokens) == 1
    assert {token.type for token in inline_of(tokens)} <= {"text", "text_special"}
    return tokens


@given(hostile, hostile, hostile)
@example("".join(HOSTILE), "".join(HOSTILE), " ".join(HOSTILE))
def test_markdown_shows_hostile_text_as_text(name: str, text: str, title: str) -> None:
    snapshot = transcript_of(said(text, 1.0), said("after", 2.0), name=name, title=title)
    source = markdown(snapshot)
    tokens = assert_only_text(source)
    contents = ["".join(child.content for child in token.children or ()) for token in tokens if token.type == "inline"]
    cells = contents[2:]
    assert len(cells) == 4 * (1 + len(snapshot.entries)), "hostile text adds no cell and no row"
    shown = clean(name, 128) or "Unknown"
    assert cells[-2:] == [shown, "after"]
    if clean(text, 100):
        assert cells[-6:-4] == [shown, clean(text, 16_384)]


@given(hostile)
@example("see https://evil.example/x, www.evil.example or mail@evil.example")
def test_no_parser_finds_an_automatic_link(text: str) -> None:
    source = markdown(transcript_of(said(text, 1.0), name=text, title=text))
    assert not re.search(r"\w+://|www\.\w|\w@\w|mailto:\w|javascript:\w", source)
    assert "<" not in source
    assert ">" not in source


def test_markdown_of_a_meeting() -> None:
    assert markdown(meeting()) == (
        "# Transcript: Weekly meeting\n\n"
        "Beginning: 2020-11-28 14:00:00 (CET)\n\n"
        "| Time | Offset | Speaker | Said | Translation (fr) |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| 14:00:01 | 1:00:01 | Ada | Good morning. |  |\n"
        "| 14:00:03 | 1:00:03 | Guest | Hello … |  |\n"
        "| 14:00:05 | 1:00:05 | +49 30 1 (phone) | Hi | Salut |\n"
        "| 14:00:10 | 1:00:10 |  | *Not transcribed for 0:01:20: the app was not in the call.* |  |\n"
        "| 14:01:40 | 1:01:40 | Bob | *Not transcribed for 0:00:04: too many people spoke at the same time.* |  |\n"
    )


# WebVTT.


def cues_of(source: str) -> list[parser.Caption]:
    return list(parser.from_string(source).captions)


def milliseconds(timestamp: str) -> int:
    hours, minutes, seconds = timestamp.split(":")
    return round((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 1000)


@given(
    st.lists(st.tuples(st.floats(0, 9000), st.floats(0, 60), hostile), max_size=8), hostile, st.none() | st.floats(-9000, 9000)
)
@example([(0.0, 1.0, "arrow")], "--", None)
@example([(0.0, 1.0, "".join(HOSTILE)), (0.0, 0.0, "x")], "".join(HOSTILE), 0.5)
def test_webvtt_is_valid_and_its_cues_are_in_order(
    lives: list[tuple[float, float, str]], name: str, recording: float | None
) -> None:
    snapshot = transcript_of(*(said(text, at, length) for at, length, text in lives), name=name, title=name)
    source = webvtt(snapshot, recording_started_at=None if recording is None else BEGIN + recording)
    assert source.startswith("WEBVTT\n")
    cues = cues_of(source)
    times = re.findall(r"^(\d{2,}:\d\d:\d\d\.\d{3}) --> (\d{2,}:\d\d:\d\d\.\d{3})$", source, re.MULTILINE)
    assert source.count("-->") == len(cues) == len(times), "nobody's text makes a cue"
    starts = [milliseconds(start) for start, _ in times]
    assert starts == sorted(starts)
    assert all(milliseconds(start) < milliseconds(end) for start, end in times)
    shown = (clean(name, 128) or "Unknown").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown += " " if shown.endswith("-") else ""
    for block in source.split("\n\n")[1:]:
        _, text = block.rstrip("\n").split("\n")
        assert text.startswith(f"<v {shown}>")
        assert not re.search(r"[<>]", text.removeprefix(f"<v {shown}>"))
    if recording is None:
        said_in_cues = "".join(cue.raw_text.split(">", 1)[1] for cue in cues).replace(" ", "")
        words = "".join(entry.text for entry in snapshot.entries if isinstance(entry, Spoken)).replace(" ", "")
        unescaped = said_in_cues.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        assert sorted(unescaped) == sorted(words), "each word is in one cue"


def test_webvtt_of_a_meeting_as_the_track_of_a_recording() -> None:
    assert webvtt(meeting(), recording_started_at=BEGIN + 2.5) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:00.500\n<v Ada>Good morning.\n\n"
        "00:00:00.500 --> 00:00:02.500\n<v Guest>Hello …\n\n"
        "00:00:02.500 --> 00:00:04.500\n<v +49 30 1 (phone)>Hi\n\n"
        "00:00:07.500 --> 00:00:12.500\n[Not transcribed for 0:01:20: the app was not in the call.]\n\n"
        "00:01:37.500 --> 00:01:41.500\nBob: [Not transcribed for 0:00:04: too many people spoke at the same time.]\n"
    )


def test_a_long_utterance_becomes_several_cues_that_share_its_time() -> None:
    source = webvtt(transcript_of(said(" ".join(["word"] * 100), 10.0, 50.0), said("字" * 300, 100.0, 30.0)))
    cues = cues_of(source)
    assert len(cues) == 5 + 3
    assert all(len(cue.text) <= CUE_CHARS for cue in cues)
    assert (cues[0].start, cues[4].end) == ("00:00:10.000", "00:01:00.000")
    assert (cues[5].start, cues[7].end) == ("00:01:40.000", "00:02:10.000")


def test_an_empty_transcript_is_valid_in_every_format() -> None:
    empty = transcript_of()
    assert cues_of(webvtt(empty)) == []
    assert_only_text(markdown(empty))
    assert json.loads(json_document(empty))["entries"] == []


# JSON.


@given(hostile, hostile)
def test_json_returns_what_was_said(name: str, text: str) -> None:
    found = json.loads(json_document(transcript_of(said(f"a {text}", 1.0), name=name, title=name)).encode())
    assert found["entries"][0]["text"] == clean(f"a {text}", 16_384)
    assert found["entries"][0]["speaker"]["name"] == clean(name, 128)


def test_json_of_a_meeting() -> None:
    found = json.loads(json_document(meeting()))
    assert (found["format"], found["version"]) == ("live-transcription-transcript", 1)
    assert found["conversation"] == {"token": "abcd1234", "title": "Weekly meeting"}
    assert datetime.fromisoformat(found["started_at"]).timestamp() == BEGIN
    assert datetime.fromisoformat(found["call_started_at"]).timestamp() == BEGIN - 3600
    assert found["entries"][2] == {
        "type": "utterance",
        "id": "1-3",
        "started_at": "2020-11-28T14:00:05.000+01:00",
        "ended_at": "2020-11-28T14:00:07.000+01:00",
        "offset": 3605.0,
        "length": 2.0,
        "speaker": {"name": "+49 30 1", "kind": "phone"},
        "language": "en",
        "text": "Hi",
        "complete": True,
        "translations": {"fr": "Salut"},
    }
    assert found["entries"][1]["complete"] is False
    assert found["entries"][3]["reason"] == "outage"
    assert found["entries"][3]["length"] == 80.0
    assert found["entries"][4]["speaker"] == "Bob"


# Labels.


def test_every_kind_of_speaker_and_gap_has_its_words() -> None:
    labels = Labels()
    assert set(labels.unnamed) == set(labels.kinds) == set(SpeakerKind)
    assert set(labels.gaps) == set(GapReason)


def test_a_title_with_placeholders_is_no_template() -> None:
    snapshot = Transcript(TranscriptInfo("room", "{time} {zone} {title}", BEGIN)).snapshot()
    assert "# Transcript: \\{time\\} \\{zone\\} \\{title\\}\n" in markdown(snapshot)


def test_a_gap_of_one_speaker_names_the_speaker() -> None:
    transcript = Transcript(INFO)
    gap = transcript.missing(Gap(GapReason.NO_ENGINE, BEGIN + 1, BEGIN + 2, "session"), "<b>Eve</b>")
    assert gap is not None
    transcript.add(gap)
    assert "&lt;b&gt;Eve&lt;/b&gt;: [" in webvtt(transcript.snapshot())
    assert "| &lt;b&gt;Eve&lt;/b&gt; |" in markdown(transcript.snapshot())
