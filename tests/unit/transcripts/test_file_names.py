# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Any conversation's title makes a valid file name."""

from __future__ import annotations

import unicodedata
from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from live_transcription.transcripts.file_names import MAX_BYTES, file_stem
from tests.unit.transcripts.samples import hostile

BEGINS = datetime.fromisoformat("2026-11-28T14:03:00+01:00")
HEAD = "2026-11-28 14-03 "
FAMILY = "👩\u200d👩\u200d👧\u200d👧"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Weekly meeting", "Weekly meeting"),
        ("a/b\\c", "a-b-c"),
        ("../../etc/passwd", "-..-etc-passwd"),
        ("...", "Conversation"),
        ("", "Conversation"),
        ("\u202e\n\x00", "Conversation"),
        (".hidden.", "hidden"),
        ("CON", "CON"),
        ('What? "Yes": <1|2> *', "What- -Yes-- -1-2- -"),
        ("🎉 Party 🎉", "🎉 Party 🎉"),
        ("Cafe\u0301", "Café"),
    ],
)
def test_a_title_becomes_a_name(title: str, name: str) -> None:
    assert file_stem(title, BEGINS) == HEAD + name


@given(hostile | st.text(min_size=50, max_size=300), st.integers(1, 1000))
@example("🎉" * 100, 2)
@example(FAMILY * 30, 1)
@example("e\u0301" * 200, 1)
@example("x" * 250, 999)
def test_every_name_is_valid_everywhere(title: str, number: int) -> None:
    stem = file_stem(title, BEGINS, number=number)
    for ending in (".md", ".vtt", ".json"):
        name = stem + ending
        assert len(name.encode()) <= MAX_BYTES
        assert name == name.strip()
        assert not set(name) & set('/\\:*?"<>|')
        assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
    assert stem.startswith(HEAD)
    assert len(stem) > len(HEAD)
    assert not stem.endswith((".", " "))


def test_equal_titles_have_different_names() -> None:
    assert len({file_stem("x" * 300, BEGINS, number=number) for number in range(1, 20)}) == 19


@pytest.mark.parametrize("whole", ["🎉", FAMILY, "👍🏽", "e\u0323\u0301", "❤\ufe0f"])
def test_a_long_title_is_cut_between_letters(whole: str) -> None:
    for offset in range(30):
        stem = file_stem("x" * offset + whole * 100, BEGINS)
        shown = stem.removeprefix(HEAD).lstrip("x")
        assert shown == unicodedata.normalize("NFC", whole) * (len(shown) // len(unicodedata.normalize("NFC", whole)))
        assert len(stem.encode()) > MAX_BYTES - 60
