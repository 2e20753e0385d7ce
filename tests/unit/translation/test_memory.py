# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which language a reader has chosen last, since Talk does not repeat it."""

from __future__ import annotations

from live_transcription.translation import memory
from live_transcription.translation.memory import ChosenLanguages


def test_the_choice_of_a_user_outlives_a_page_reload_and_belongs_to_one_room() -> None:
    chosen = ChosenLanguages()
    chosen.choose("room", "before", "ada", "fr")
    assert chosen.get("room", "after", "ada") == "fr"
    assert chosen.get("another", "after", "ada") is None
    assert chosen.get("room", "before", "bob") is None


def test_the_choice_of_a_guest_belongs_to_the_session() -> None:
    chosen = ChosenLanguages()
    chosen.choose("room", "one", None, "fr")
    assert chosen.get("room", "one", None) == "fr"
    assert chosen.get("room", "two", None) is None
    # A guest's session is no user's name, and the reverse.
    assert chosen.get("room", "two", "one") is None
    chosen.choose("room", "three", "ada", "de")
    assert chosen.get("room", "ada", None) is None


def test_a_choice_ends_when_the_reader_wants_no_translation() -> None:
    chosen = ChosenLanguages()
    chosen.choose("room", "one", "ada", "fr")
    chosen.choose("room", "two", "ada", None)
    assert chosen.get("room", "one", "ada") is None


def test_guests_who_choose_without_end_use_bounded_memory() -> None:
    chosen = ChosenLanguages()
    for number in range(memory.MAX_REMEMBERED + 1):
        chosen.choose("room", f"guest-{number}", None, "fr")
    assert chosen.get("room", "guest-0", None) is None
    assert chosen.get("room", "guest-1", None) == "fr"
