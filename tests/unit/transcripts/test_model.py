# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A transcript keeps every utterance once, in the order in which they began."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.transcript import Gap, GapReason
from live_transcription.transcripts import model
from live_transcription.transcripts.clean import clean
from live_transcription.transcripts.model import Missing, Snapshot, Spoken, Transcript, TranscriptInfo
from tests.unit.transcripts.samples import BEGIN, INFO, hostile, said, transcript_of

spans = st.tuples(st.floats(0, 7200), st.floats(0, 60))


def texts(snapshot: Snapshot) -> list[str]:
    return [entry.text for entry in snapshot.entries if isinstance(entry, Spoken)]


@given(st.lists(spans, max_size=40))
def test_utterances_arrive_as_they_end_and_are_kept_as_they_began(lives: list[tuple[float, float]]) -> None:
    utterances = [said(f"w{number}", at, length, number=number) for number, (at, length) in enumerate(lives)]
    utterances.sort(key=lambda each: each.ended_at)
    snapshot = transcript_of(*utterances)
    starts = [entry.started_at for entry in snapshot.entries]
    assert starts == sorted(starts)
    assert sorted(texts(snapshot)) == sorted(f"w{number}" for number in range(len(lives)))


@given(st.lists(st.tuples(st.integers(1, 5), spans), max_size=40))
def test_an_utterance_with_a_known_id_replaces_the_one_before(lives: list[tuple[int, tuple[float, float]]]) -> None:
    utterances = [said(f"w{index}", at, length, number=number) for index, (number, (at, length)) in enumerate(lives)]
    snapshot = transcript_of(*utterances)
    last = {utterance.id: utterance.text for utterance in utterances}
    assert sorted(texts(snapshot)) == sorted(last.values())
    assert [entry.started_at for entry in snapshot.entries] == sorted(entry.started_at for entry in snapshot.entries)


def test_ids_of_different_runs_of_the_app_are_different() -> None:
    transcript = Transcript(INFO)
    for run in (1, 2):
        transcript.add(transcript.spoken(said(f"run {run}", number=1), "Ada", run=run))
    assert texts(transcript.snapshot()) == ["run 1", "run 2"]


def test_what_began_before_the_transcript_is_not_kept() -> None:
    assert texts(transcript_of(said("before", -1.0, 3.0), said("after", 0.0))) == ["after"]


def test_an_utterance_without_words_is_not_kept() -> None:
    assert not transcript_of(said(""), said(" \u200b\x00 ")).entries


@pytest.mark.parametrize(("start", "end"), [(math.nan, math.nan), (math.inf, 0.0), (BEGIN + 5, BEGIN), (BEGIN + 1, math.nan)])
def test_impossible_times_of_an_engine_do_not_break_the_order(start: float, end: float) -> None:
    strange = replace(said("strange"), started_at=start, ended_at=end)
    snapshot = transcript_of(said("first", 1.0), strange, said("last", 9.0))
    assert [entry.started_at for entry in snapshot.entries] == sorted(entry.started_at for entry in snapshot.entries)
    assert all(entry.ended_at >= entry.started_at for entry in snapshot.entries)
    assert sorted(texts(snapshot)) == ["first", "last", "strange"]


def test_a_translation_is_added_to_its_utterance() -> None:
    transcript = Transcript(INFO)
    spoken = transcript.spoken(said("Hello", 1.0), "Ada", run=1)
    transcript.add(spoken)
    transcript.add(transcript.spoken(said("Bye", 2.0), "Ada", run=1))
    translated = transcript.translate(spoken.id, "fr", "Bonjour")
    assert translated is not None
    transcript.add(translated)
    entries = transcript.snapshot().entries
    assert [dict(entry.translations) for entry in entries if isinstance(entry, Spoken)] == [{"fr": "Bonjour"}, {}]
    assert transcript.translate((9, 9), "fr", "x") is None
    assert transcript.snapshot().languages == ("fr",)


def test_a_gap_is_kept_from_the_beginning_of_the_transcript_on() -> None:
    transcript = Transcript(INFO)
    assert transcript.missing(Gap(GapReason.OUTAGE, BEGIN - 9, BEGIN - 1), "") is None
    gap = transcript.missing(Gap(GapReason.OUTAGE, BEGIN - 9, BEGIN + 3), "")
    assert gap == Missing(GapReason.OUTAGE, BEGIN, BEGIN + 3)
    assert gap.seconds == 3.0


def test_memory_is_bounded_and_the_reader_sees_where_the_transcript_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MAX_BYTES", 10_000)
    transcript = Transcript(INFO)
    for number in range(1000):
        transcript.add(transcript.spoken(said("x" * 100, float(number), number=number), "Ada", run=1))
    assert transcript.full
    assert len(transcript) < 40
    gap = transcript.snapshot().entries[-1]
    assert isinstance(gap, Missing)
    assert gap.reason is GapReason.FULL
    assert gap.ended_at == BEGIN + 1001


def test_an_engine_that_is_tried_again_and_again_leaves_one_gap() -> None:
    transcript = Transcript(INFO)
    for start in (0, 16, 32, 90):
        for name in ("Ada", "Bob"):
            transcript.add(Missing(GapReason.NO_ENGINE, BEGIN + start, BEGIN + start + 14, name))
        transcript.add(transcript.spoken(said(f"at {start}", start + 1.0), "Eve", run=1))
    gaps = [entry for entry in transcript.snapshot().entries if isinstance(entry, Missing)]
    assert [(gap.name, gap.started_at - BEGIN, gap.seconds) for gap in gaps] == [
        ("Ada", 0, 46), ("Bob", 0, 46), ("Ada", 90, 14), ("Bob", 90, 14),
    ]  # fmt: skip
    assert texts(transcript.snapshot()) == ["at 0", "at 16", "at 32", "at 90"]


def test_an_endless_text_is_cut_and_marked_as_incomplete() -> None:
    (entry,) = transcript_of(said("x" * 10**6), name="y" * 10**6).entries
    assert isinstance(entry, Spoken)
    assert len(entry.text) <= model.TEXT_CHARS
    assert len(entry.name) <= model.NAME_CHARS
    assert not entry.final


def test_neither_names_nor_words_are_in_a_repr() -> None:
    snapshot = transcript_of(said("confidential"), name="Grace", title="Merger")
    for shown in (repr(snapshot), repr(snapshot.entries), repr(snapshot.info), repr(Missing(GapReason.OUTAGE, 0, 1, "Grace"))):
        assert not any(word in shown for word in ("confidential", "Grace", "Merger"))


def test_times_are_shown_in_the_zone_and_in_utc_if_it_is_unknown() -> None:
    assert f"{INFO.local_time(BEGIN):%H:%M}" == "14:00"
    for zone in ("Nowhere/Nothing", "", "../../etc/passwd", "\x00", "a" * 300):
        assert f"{TranscriptInfo('room', 'x', BEGIN, zone).local_time(BEGIN):%H:%M}" == "13:00"


def test_offsets_count_from_the_start_of_the_call_if_it_is_known() -> None:
    assert replace(INFO, call_started_at=BEGIN - 60).origin == BEGIN - 60
    assert INFO.origin == BEGIN


@given(hostile, st.integers(1, 50))
def test_clean_text_is_one_printable_line(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert len(cleaned) <= limit
    assert cleaned == cleaned.strip()
    cleaned.encode()
    assert len(cleaned.splitlines()) <= 1
    for character in cleaned:
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(character) not in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def test_cleaning_preserves_what_spelling_needs() -> None:
    for text in ("\u0645\u06cc\u200c\u062e\u0648", "👩\u200d👧", "Łódź ñ 日本語", "क्\u200dष"):
        assert clean(text, 100) == unicodedata.normalize("NFC", text)
