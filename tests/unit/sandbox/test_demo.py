# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The demo's evaluation, report, view and terminal, without any process or network."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from sandbox.caller import ReceivedCaption
from sandbox.demo.evaluation import RENDERERS, Judgement, Timing, complete, judge, judge_under_all
from sandbox.demo.programme import programme
from sandbox.demo.report import report
from sandbox.demo.terminal import Terminal
from sandbox.demo.view import DemoView, Line, Participant, RoomView, Sound
from sandbox.recording import Recording, Utterance
from sandbox.word_error_rate import WordErrors

BEGUN = 1000.0


def recording(*utterances: tuple[float, float, str]) -> Recording:
    said = tuple(Utterance(start, end, text, ((start, end),)) for start, end, text in utterances)
    return Recording("test", "en", "CC0-1.0", "nowhere", "nobody", said[-1].end_s + 1, said)


TWO = recording((1.0, 3.0, "The meeting starts now."), (4.0, 6.0, "Please mute yourselves."))


def caption(at: float, text: str, *, final: bool = True) -> ReceivedCaption:
    return ReceivedCaption(BEGUN + at, "speaker-1", text, "en", final)


def left_at(position: float) -> float:
    return BEGUN + position


def test_each_utterance_is_timed_by_its_own_words() -> None:
    messages = ((1.8, "The"), (2.6, "meeting starts"), (3.9, "now. Please"), (7.2, "mute yourselves."))
    captions = [caption(at, text) for at, text in messages]
    judgement = judge(TWO, captions, left_at)
    assert judgement.errors.errors == 0
    assert judgement.missing == 0
    assert judgement.timings[0] == Timing(pytest.approx(0.8), pytest.approx(0.9))
    assert judgement.timings[1] == Timing(pytest.approx(-0.1), pytest.approx(1.2))
    assert len(judgement.word_delays_s) == 7


def test_words_are_timed_as_the_renderer_scrolls_them_in() -> None:
    captions = [caption(3.5, "The meeting starts now."), caption(6.5, "Please mute yourselves.")]
    narrow = judge(TWO, captions, left_at, columns=12)
    assert narrow.text == "The meeting starts now. Please mute yourselves."
    assert narrow.timings[0].last_word_s == pytest.approx(2.5), "the second line waits two seconds"
    assert narrow.timings[1].last_word_s == pytest.approx(3.5), "so does each after it"


def test_partials_count_as_often_as_the_renderer_shows_them() -> None:
    captions = [caption(2.0, "The meeting", final=False), caption(3.5, "The meeting starts now. Please mute yourselves.")]
    judgements = judge_under_all(TWO, captions, left_at)
    assert judgements["append-80"].errors.insertions == 2
    assert judgements["replace-40"].errors.errors == 0
    found = report([judgements], [None])
    assert any("do not read the same" in fault for fault in found.faults)


def test_utterances_of_which_no_word_was_shown_are_missing() -> None:
    judgement = judge(TWO, [caption(3.5, "The meeting starts now.")], left_at)
    assert judgement.missing == 1
    assert judgement.errors.deletions == 3
    assert judge(TWO, [], left_at).missing == 2


def test_late_captions_of_an_earlier_utterance_are_not_the_last_ones() -> None:
    first, last = caption(6.5, "The meeting starts now."), caption(10.5, "Please mute yourselves.")
    assert not complete(TWO, [], left_at, BEGUN + 99)
    assert not complete(TWO, [first], left_at, BEGUN + 10), "the last utterance has none yet"
    assert not complete(TWO, [first, last], left_at, BEGUN + 13), "more may come"
    assert complete(TWO, [first, last], left_at, BEGUN + 14)


def judged(language: str, errors: int, *timings: Timing, delays: tuple[float, ...] = ()) -> dict[str, Judgement]:
    judgement = Judgement(language, WordErrors(100, substitutions=errors), timings or (Timing(0.9, 1.1),), "text", delays)
    return dict.fromkeys(RENDERERS, judgement)


def test_good_captions_make_a_report_without_faults(tmp_path: Path) -> None:
    found = report([judged("en", 8), judged("fr", 20)], [0.2, 0.4])
    assert found.faults == ()
    found.write(tmp_path / "build" / "demo.json")
    written = json.loads((tmp_path / "build" / "demo.json").read_text())
    assert written["wer_en"] == 0.08
    assert written["wer_fr"] == 0.2
    assert written["first_word_p50_s"] == 0.9
    assert written["last_word_p50_s"] == 1.1
    assert set(written["renderers"]) == {"append-40", "append-80", "replace-40", "replace-80"}
    assert written["join_to_audio_s"] == pytest.approx(0.3)
    assert any("wer_en" in line and "8.0%" in line for line in found.lines())


def test_the_aims_for_the_first_word_are_those_for_the_number_of_people_who_talk_at_the_same_time(tmp_path: Path) -> None:
    def first_words(talking: int) -> list[str]:
        found = report([judged("en", 0, Timing(1.3, 0.8), Timing(2.2, 0.8))], [0.2], talking=talking)
        found.write(tmp_path / f"{talking}.json")
        return [line for line in found.lines() if line.startswith("first_word")]

    assert [line.rpartition("(")[2] for line in first_words(1)] == ["aim: 1.20 s - missed)", "aim: 2.00 s - missed)"]
    assert [line.rpartition("(")[2] for line in first_words(2)] == ["aim: 1.60 s - missed)", "aim: 2.40 s)"]
    assert json.loads((tmp_path / "2.json").read_text())["aims_s"]["first_word_p95_s"] == 2.4
    assert json.loads((tmp_path / "2.json").read_text())["talking"] == 2
    several = report([judged("en", 0)], [0.2], talking=2).lines()
    assert any("2 people talked at the same time" in line and "1.20 / 2.00 s" in line for line in several)
    assert not any("at the same time" in line for line in report([judged("en", 0)], [0.2]).lines())


@pytest.mark.parametrize(
    ("judgements", "leaked", "fault"),
    [
        ([judged("en", 9)], False, "word error rate"),
        ([judged("fr", 21)], False, "word error rate"),
        ([judged("en", 0, Timing(0.9, None))], False, "got no caption"),
        ([judged("en", 0)], True, "log holds caption text"),
        ([], False, "nobody"),
    ],
)
def test_wrong_captions_are_faults(judgements: list[dict[str, Judgement]], leaked: bool, fault: str) -> None:
    found = report(judgements, [None], leaked=leaked)
    assert len(found.faults) == 1
    assert fault in found.faults[0]
    assert f"WRONG: {found.faults[0]}" in found.lines()


def test_of_a_remote_engine_it_is_told_how_soon_its_words_were_shown() -> None:
    found = report([judged("en", 0, delays=(0.5, 0.6, 0.7))], [0.2], engine="modal", words_served=1)
    assert found.figures["engine"] == "modal"
    assert any("word_p50_s" in line and "0.60 s" in line and "aim: 0.65 s" in line for line in found.lines())
    assert found.faults == ()


def test_captions_that_another_engine_made_do_not_pass_for_those_of_the_one_asked_for() -> None:
    found = report([judged("en", 0)], [0.2], engine="moshi", words_served=0)
    assert len(found.faults) == 1
    assert "another engine" in found.faults[0]


def room() -> RoomView:
    view = RoomView("abc", "A call", "en")
    view.participants["speaker-1"] = Participant("speaker-1", "Speaker 1", "talks", speaking=True)
    return view


def test_names_stand_above_the_lines_of_each_speaker() -> None:
    view = room()
    view.participants["speaker-2"] = Participant("speaker-2", "Ben", "talks")
    assert view.caption(caption(0.0, "The meeting", final=False)) == []
    completed = view.caption(caption(0.4, "The meeting starts now."))
    assert completed == [Line("speaker-1", "The meeting The meeting starts now.", BEGUN + 0.4)]
    screens = view.snapshot(BEGUN + 1.0)["screens"]
    assert screens == {
        "append": [{"name": "Speaker 1", "lines": ["The meeting The meeting starts now."]}],
        "replace": [{"name": "Speaker 1", "lines": ["The meeting starts now."]}],
    }
    view.caption(ReceivedCaption(BEGUN + 5.2, "speaker-2", "no", "en", True))
    assert view.snapshot(BEGUN + 9.0)["screens"]["append"][-1] == {"name": "Ben", "lines": ["No"]}


def test_people_who_talk_across_each_other_keep_their_sentences() -> None:
    view = room()
    view.participants["speaker-2"] = Participant("speaker-2", "Ben", "talks")

    def said(at: float, speaker: str, text: str) -> list[Line]:
        return view.caption(ReceivedCaption(BEGUN + at, speaker, text, "en", True))

    assert said(0.0, "speaker-1", "The meeting starts") == []
    assert said(0.5, "speaker-2", "Wait, I am") == []
    assert view.live == "Ben: Wait, I am"
    assert [line.text for line in said(1.0, "speaker-1", "in five minutes.")] == ["The meeting starts in five minutes."]
    assert [line.text for line in said(1.5, "speaker-2", "not ready yet.")] == ["Wait, I am not ready yet."]
    assert view.snapshot(BEGUN + 2.0)["transcript"] == [
        {"name": "Speaker 1", "text": "The meeting starts in five minutes."},
        {"name": "Ben", "text": "Wait, I am not ready yet."},
    ]


def test_a_line_ends_when_its_speaker_is_quiet() -> None:
    view = room()
    view.caption(caption(5.0, "It"))
    assert view.end_lines(BEGUN + 7.0) == []
    assert view.end_lines(BEGUN + 8.0) == [Line("speaker-1", "It", BEGUN + 5.0)]
    assert view.live == ""
    assert view.spoken == 1


def test_the_page_learns_where_in_a_recording_a_speaker_is() -> None:
    view = room()
    view.participants["speaker-1"].sound = Sound("en-novel", 2.0, BEGUN)
    assert view.snapshot(BEGUN + 1.5)["participants"][0]["sound"] == {"recording": "en-novel", "position_s": 3.5}
    view.participants["speaker-1"].sound = None
    assert view.snapshot(BEGUN + 1.5)["participants"][0]["sound"] is None


def test_two_people_share_the_english_call_and_at_most_two_talk_at_a_time() -> None:
    usual = programme()
    assert usual.speakers("en") == ["Alice", "Ben"]
    assert usual.speakers("fr") == ["Chloé"]
    assert len(usual.lanes) == 2
    assert {lane[0].language for lane in usual.lanes} == {"en"}, "they begin together"
    assert usual.only("fr").languages == ["fr"]
    assert [turn.recording.name for turn in usual.only("fr").turns] == ["fr-conference"]
    assert any("Allison" in line for line in usual.credits())


def test_named_recordings_are_played_at_the_same_time() -> None:
    chosen = programme(["en-short", "fr-short"])
    assert [[turn.recording.name for turn in lane] for lane in chosen.lanes] == [["en-short"], ["fr-short"]]
    assert len({turn.speaker for turn in chosen.turns}) == 2
    with pytest.raises(FileNotFoundError):
        programme(["no-such-recording"])


async def test_the_view_wakes_who_waits_for_news() -> None:
    view = DemoView()
    seen = view.version
    view.changed()
    assert await view.next(seen) > seen


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_file_gets_whole_utterances_and_no_control_characters() -> None:
    out, view = io.StringIO(), room()
    terminal = Terminal(out)
    terminal.show([view])
    view.caption(caption(0.0, "The"))
    terminal.changed()
    terminal.line(view, "Speaker 1", "The meeting.")
    terminal.close()
    assert out.getvalue().endswith("[en] Speaker 1: The meeting.\n")
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_a_terminal_shows_the_utterance_that_goes_on_and_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    out, view = Tty(), room()
    terminal = Terminal(out)
    view.caption(caption(0.0, "word " * 30 + "end"))
    terminal.show([view])
    live = out.getvalue().splitlines()[-1]
    assert live.startswith("[en] ● …")
    assert live.endswith("end")
    assert len(live) <= 40
    terminal.close()
    assert out.getvalue().endswith("\x1b[1A\r\x1b[J")
