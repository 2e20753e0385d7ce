# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The demo's judgement, report, view and terminal, without any process or network."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from sandbox.caller import ReceivedCaption
from sandbox.demo.judgement import Judgement, Timing, judge
from sandbox.demo.report import report
from sandbox.demo.terminal import Terminal
from sandbox.demo.view import DemoView, Participant, RoomView
from sandbox.recording import Recording, Utterance
from sandbox.score import WordErrors

BEGUN = 1000.0


def recording(*utterances: tuple[float, float, str]) -> Recording:
    said = tuple(Utterance(start, end, text, ((start, end),)) for start, end, text in utterances)
    return Recording("test", "en", "CC0-1.0", "nowhere", "nobody", said[-1].end_s + 1, said)


TWO = recording((1.0, 3.0, "The meeting starts now."), (4.0, 6.0, "Please mute yourselves."))


def caption(at: float, text: str, *, final: bool = False) -> ReceivedCaption:
    return ReceivedCaption(BEGUN + at, "speaker-1", text, "en", final)


def left_at(position: float) -> float:
    return BEGUN + position


def test_each_utterance_is_timed_by_its_own_words() -> None:
    captions = [
        caption(1.8, "the"),
        caption(2.6, "the meeting starts"),
        caption(3.9, "The meeting starts now.", final=True),
        caption(4.9, "please"),
        caption(7.2, "Please mute yourselves.", final=True),
    ]
    judgement = judge(TWO, captions, left_at)
    assert judgement.errors.errors == 0
    assert judgement.missing == 0
    assert judgement.timings[0] == Timing(pytest.approx(0.8), pytest.approx(0.9), pytest.approx(0.8 - 2 * 4 / 24))
    assert judgement.timings[1] == Timing(pytest.approx(0.9), pytest.approx(1.2), pytest.approx(0.9 - 2 * 7 / 24))


def test_a_final_that_comes_after_the_next_onset_counts_for_its_own_utterance() -> None:
    captions = [
        caption(4.5, "The meeting starts now.", final=True),
        caption(5.5, "please"),
        caption(6.5, "Please mute yourselves.", final=True),
    ]
    judgement = judge(TWO, captions, left_at)
    assert [timing.final_s for timing in judgement.timings] == [pytest.approx(1.5), pytest.approx(0.5)]
    assert judgement.timings[1].first_partial_s == pytest.approx(1.5)


def test_two_utterances_in_one_caption_are_told_apart_by_their_words() -> None:
    captions = [
        caption(2.0, "the meeting starts"),
        caption(5.0, "the meeting starts now please"),
        caption(6.8, "The meeting starts now, please mute yourselves.", final=True),
    ]
    judgement = judge(TWO, captions, left_at)
    assert [timing.first_partial_s for timing in judgement.timings] == [pytest.approx(1.0), pytest.approx(1.0)]
    assert [timing.final_s for timing in judgement.timings] == [pytest.approx(3.8), pytest.approx(0.8)]


def test_utterances_without_a_final_are_missing() -> None:
    judgement = judge(TWO, [caption(2.0, "the meeting"), caption(3.5, "The meeting starts now.", final=True)], left_at)
    assert judgement.missing == 1
    assert judgement.errors.deletions == 3
    open_end = judge(TWO, [caption(3.5, "The meeting starts now.", final=True), caption(5.0, "please mute")], left_at)
    assert open_end.missing == 1
    assert open_end.timings[1].first_partial_s == pytest.approx(1.0)
    assert judge(TWO, [], left_at).missing == 2


def judged(language: str, errors: int, *timings: Timing) -> Judgement:
    return Judgement(language, WordErrors(100, substitutions=errors), timings or (Timing(0.9, 1.1),), "text")


def test_good_captions_make_a_report_without_faults(tmp_path: Path) -> None:
    found = report([judged("en", 8), judged("fr", 20)], [0.2, 0.4])
    assert found.faults == ()
    found.write(tmp_path / "build" / "demo.json")
    written = json.loads((tmp_path / "build" / "demo.json").read_text())
    assert written["wer_en"] == 0.08
    assert written["wer_fr"] == 0.2
    assert written["first_partial_p50_s"] == 0.9
    assert written["final_p50_s"] == 1.1
    assert written["join_to_audio_s"] == pytest.approx(0.3)
    assert any("wer_en" in line and "8.0%" in line for line in found.lines())


@pytest.mark.parametrize(
    ("judgements", "leaked", "fault"),
    [
        ([judged("en", 9)], False, "word error rate"),
        ([judged("fr", 21)], False, "word error rate"),
        ([judged("en", 0, Timing(0.9, None))], False, "got no final"),
        ([judged("en", 0)], True, "log holds caption text"),
        ([], False, "nobody"),
    ],
)
def test_wrong_captions_are_faults(judgements: list[Judgement], leaked: bool, fault: str) -> None:
    found = report(judgements, [None], leaked=leaked)
    assert len(found.faults) == 1
    assert fault in found.faults[0]
    assert f"WRONG: {found.faults[0]}" in found.lines()


def test_of_a_remote_engine_it_is_told_how_soon_its_words_were_shown() -> None:
    found = report([judged("en", 0, Timing(0.9, 1.1, 0.6))], [0.2], engine="modal", words_served=1)
    assert found.figures["engine"] == "modal"
    assert any("first_word_p50_s" in line and "0.60 s" in line and "aim: 0.8 s" in line for line in found.lines())
    assert found.faults == ()


def test_captions_that_another_engine_made_do_not_pass_for_those_of_the_one_asked_for() -> None:
    found = report([judged("en", 0)], [0.2], engine="moshi", words_served=0)
    assert len(found.faults) == 1
    assert "another engine" in found.faults[0]


def room() -> RoomView:
    view = RoomView("abc", "A call", "en")
    view.participants["speaker-1"] = Participant("speaker-1", "Speaker 1", "talks", speaking=True)
    return view


def test_partials_are_replaced_and_finals_pile_up_until_another_speaker() -> None:
    view = room()
    view.caption("speaker-1", "the", final=False)
    view.caption("speaker-1", "the meeting", final=False)
    view.caption("speaker-1", "The meeting.", final=True)
    view.caption("speaker-1", "it", final=False)
    snapshot = view.snapshot()
    assert (snapshot["speaker"], snapshot["finals"], snapshot["partial"]) == ("Speaker 1", "The meeting.", "it")
    view.caption("speaker-2", "no", final=False)
    assert (view.snapshot()["finals"], view.snapshot()["partial"]) == ("", "no")
    assert view.snapshot()["transcript"] == ["The meeting."]


async def test_the_view_wakes_who_waits_for_news() -> None:
    view = DemoView()
    seen = view.version
    view.changed()
    assert await view.next(seen) > seen


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_file_gets_finals_and_no_control_characters() -> None:
    out, view = io.StringIO(), room()
    terminal = Terminal(out)
    terminal.show([view])
    view.caption("speaker-1", "the", final=False)
    terminal.partial()
    terminal.final(view, "Speaker 1", "The meeting.")
    terminal.close()
    assert out.getvalue().endswith("[en] Speaker 1: The meeting.\n")
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_a_terminal_shows_the_open_caption_and_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    out, view = Tty(), room()
    terminal = Terminal(out)
    view.caption("speaker-1", "word " * 30 + "end", final=False)
    terminal.show([view])
    live = out.getvalue().splitlines()[-1]
    assert live.startswith("[en] ● …")
    assert live.endswith("end")
    assert len(live) <= 40
    terminal.close()
    assert out.getvalue().endswith("\x1b[1A\r\x1b[J")
