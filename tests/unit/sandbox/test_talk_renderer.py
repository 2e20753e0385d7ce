# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The model of Talk's caption renderers."""

from __future__ import annotations

import pytest

from sandbox.talk_renderer import Script, Style, TalkRenderer

BOTH = pytest.mark.parametrize("style", list(Style))


def test_an_appending_renderer_repeats_what_a_replacing_one_replaces() -> None:
    shown = {}
    for style in Style:
        renderer = TalkRenderer(style)
        renderer.receive("a", "good", "en", 0.0, final=False)
        renderer.receive("a", "good morning", "en", 0.3, final=False)
        renderer.receive("a", "Good morning.", "en", 0.6)
        renderer.receive("a", "All", "en", 1.0)
        shown[style] = renderer.text("a")
    assert shown == {Style.APPEND: "good good morning Good morning. All", Style.REPLACE: "Good morning. All"}


def test_a_message_that_is_left_open_stays_when_another_speaker_begins_a_block() -> None:
    renderer = TalkRenderer(Style.REPLACE)
    renderer.receive("a", "menu and", "en", 0.0, final=False)
    renderer.receive("b", "Yes.", "en", 0.5)
    renderer.receive("a", "menu and return", "en", 1.0)
    assert renderer.text("a") == "menu and menu and return"


@BOTH
def test_a_change_of_speaker_or_direction_begins_a_block(style: Style) -> None:
    renderer = TalkRenderer(style, scripts={"en": Script(), "ar": Script(rtl=True)})
    for speaker, language in (("a", "en"), ("a", "en"), ("b", "en"), ("a", "en"), ("a", "ar")):
        renderer.receive(speaker, "word", language, 0.0)
    assert [(block.speaker, len(block.chunks)) for block in renderer.blocks] == [("a", 2), ("b", 1), ("a", 1), ("a", 1)]


@BOTH
def test_the_separator_is_that_of_the_language_and_a_space_between_languages(style: Style) -> None:
    renderer = TalkRenderer(style, scripts={"ja": Script(separator="")})
    for text, language in (("你", "ja"), ("好", "ja"), ("you", "xx"), ("there", "xx")):
        renderer.receive("a", text, language, 0.0)
    assert renderer.text() == "你好 you there"


@BOTH
def test_one_line_scrolls_in_every_two_seconds(style: Style) -> None:
    renderer = TalkRenderer(style, columns=10)
    renderer.receive("a", "first one. second two. third", "en", 5.0)
    assert renderer.screen(5.0) == [("a", "First one.")]
    assert renderer.backlog(5.0) == 2
    assert renderer.screen(7.0) == [("a", "First one."), ("a", "second")]
    renderer.receive("a", "end", "en", 7.5)
    assert [(word.text, word.at) for word in renderer.words()] == [
        ("first", 5.0),
        ("one.", 5.0),
        ("second", 7.0),
        ("two.", 9.0),
        ("third", 9.0),
        ("end", 11.0),
    ]


@BOTH
def test_text_that_fits_into_the_line_is_shown_at_once(style: Style) -> None:
    renderer = TalkRenderer(style)
    renderer.receive("a", "one", "en", 0.0)
    renderer.receive("a", "two", "en", 0.4)
    assert [word.at for word in renderer.words()] == [0.0, 0.4]
    assert renderer.screen(0.2) == [("a", "One")]


@BOTH
def test_the_box_has_four_lines(style: Style) -> None:
    renderer = TalkRenderer(style, columns=10)
    for number in range(6):
        renderer.receive(f"s{number}", f"line {number}", "en", number * 2.0)
    assert [line for _, line in renderer.screen(60.0)] == [f"Line {number}" for number in (2, 3, 4, 5)]


@BOTH
def test_captions_of_somebody_who_is_not_in_the_call_are_discarded(style: Style) -> None:
    renderer = TalkRenderer(style, present={"a", "b"})
    renderer.receive("a", "bye", "en", 0.0)
    renderer.leave("a")
    renderer.receive("a", "too late", "en", 0.1)
    renderer.receive("b", "hello", "en", 0.2)
    assert renderer.text() == "bye hello"
    assert renderer.discarded == 1
