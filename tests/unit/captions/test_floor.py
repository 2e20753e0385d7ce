# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Order between speakers, as Talk's web client shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.captions import CaptionFloor
from live_transcription.types import Caption


def say(speaker: str, text: str, final: bool = False) -> Caption:
    return Caption(speaker=speaker, text=text, language="en", final=final)


@dataclass
class Screen:
    """Talk's blocks: a new one when the speaker changes, only the last is extended, a partial is replaced."""

    blocks: list[tuple[str, list[Caption]]] = field(default_factory=list)

    def show(self, captions: list[Caption]) -> None:
        for caption in captions:
            assert caption.text.strip()
            if not self.blocks or self.blocks[-1][0] != caption.speaker:
                self.blocks.append((caption.speaker, []))
            chunks = self.blocks[-1][1]
            if chunks and not chunks[-1].final:
                chunks.pop()
            chunks.append(caption)

    def text_of(self, speaker: str) -> str:
        return " ".join(chunk.text for name, chunks in self.blocks if name == speaker for chunk in chunks)

    def unfinished(self) -> list[str]:
        """Chunks that stay a partial for ever: all but the very last."""
        chunks = [chunk for _, chunks in self.blocks for chunk in chunks]
        return [chunk.text for chunk in chunks[:-1] if not chunk.final]


def test_one_speaker_alone_passes_through() -> None:
    floor = CaptionFloor()
    captions = [say("a", "one"), say("a", "one two"), say("a", "one two.", True), say("a", "three")]
    assert [out for caption in captions for out in floor.offer(caption, 0.0)] == captions
    assert floor.next_deadline() is None


def test_a_final_is_not_delayed_and_closes_the_holders_text_first() -> None:
    floor = CaptionFloor()
    floor.offer(say("a", "one two"), 0.0)
    assert floor.offer(say("b", "yes", True), 0.1) == [say("a", "one two", True), say("b", "yes", True)]
    assert floor.offer(say("a", "one two three"), 0.2) == [say("a", "three")]
    assert floor.offer(say("a", "One, two three four.", True), 0.3) == [say("a", "three four.", True)]
    assert floor.cuts == 1
    assert floor.offer(say("a", "one"), 0.4) == [say("a", "one")], "a new utterance is not aligned with the old one"


def test_a_final_that_adds_nothing_to_the_cut_is_not_said_again() -> None:
    floor = CaptionFloor()
    floor.offer(say("a", "one two"), 0.0)
    floor.offer(say("b", "yes", True), 0.1)
    assert floor.offer(say("a", "One two.", True), 0.3) == []


def test_another_speakers_partial_waits_until_the_holder_is_final() -> None:
    floor = CaptionFloor()
    floor.offer(say("a", "one"), 0.0)
    assert floor.offer(say("b", "un"), 0.1) == []
    assert floor.offer(say("b", "un deux"), 0.2) == []
    assert floor.offer(say("a", "one two", True), 0.3) == [say("a", "one two", True), say("b", "un deux")]
    assert floor.offer(say("b", "un deux", True), 0.4) == [say("b", "un deux", True)]


def test_a_holder_that_does_not_change_is_cut_after_a_second() -> None:
    floor = CaptionFloor()
    floor.offer(say("a", "one"), 0.0)
    floor.offer(say("b", "un"), 0.1)
    assert floor.next_deadline() == pytest.approx(1.0)
    assert floor.tick(0.9) == []
    assert floor.tick(1.0) == [say("a", "one", True), say("b", "un")]
    assert floor.next_deadline() is None


def test_a_holder_that_goes_on_is_cut_after_its_time() -> None:
    floor = CaptionFloor()
    words = ["one"]
    floor.offer(say("a", "one"), 0.0)
    floor.offer(say("b", "un"), 0.1)
    for tenth in range(5, 25, 5):
        words.append("more")
        assert floor.offer(say("a", " ".join(words)), tenth / 10) == [say("a", " ".join(words))]
    assert floor.next_deadline() == pytest.approx(2.5)
    assert floor.tick(2.5) == [say("a", " ".join(words), True), say("b", "un")]


def test_a_final_of_a_waiting_speaker_replaces_its_waiting_partial() -> None:
    floor = CaptionFloor()
    floor.offer(say("a", "one"), 0.0)
    floor.offer(say("b", "un"), 0.1)
    assert floor.offer(say("b", "un deux", True), 0.2) == [say("a", "one", True), say("b", "un deux", True)]
    assert floor.tick(99.0) == []


def test_an_utterance_taken_back_frees_the_floor_and_is_not_sent() -> None:
    floor = CaptionFloor()
    floor.offer(say("a", "you"), 0.0)
    floor.offer(say("b", "un"), 0.1)
    assert floor.offer(say("a", "", True), 0.2) == [say("b", "un")]
    assert floor.offer(say("b", "", True), 0.3) == []
    assert floor.tick(99.0) == []


def test_who_leaves_is_closed_and_forgotten() -> None:
    floor = CaptionFloor()
    floor.offer(say("a", "one"), 0.0)
    floor.offer(say("b", "un"), 0.1)
    floor.offer(say("c", "uno"), 0.1)
    assert floor.leave("b", 0.2) == []
    assert floor.leave("a", 0.3) == [say("a", "one", True), say("c", "uno")]
    assert floor.leave("nobody", 0.3) == []


def test_a_rewritten_shorter_text_is_not_said_twice_after_a_cut() -> None:
    floor = CaptionFloor()
    screen = Screen()
    for speaker, text, final in [
        ("a", "one two", False),
        ("b", "yes", True),
        ("a", "one two three", False),
        ("a", "one two", False),
        ("b", "yes", True),
        ("a", "one two three four", True),
    ]:
        screen.show(floor.offer(say(speaker, text, final), 0.0))
    assert screen.text_of("a") == "one two three four"


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[float, Caption]]:
    """Two to four people at once; each utterance grows word by word and ends with a final."""
    counters = dict.fromkeys(draw(st.sampled_from(["ab", "abc", "abcd"])), 0)
    open_texts: dict[str, list[str]] = {speaker: [] for speaker in counters}
    script: list[tuple[float, Caption]] = []
    for _ in range(draw(st.integers(0, 50))):
        speaker = draw(st.sampled_from(sorted(counters)))
        for _ in range(draw(st.integers(1, 3))):
            open_texts[speaker].append(f"{speaker}{counters[speaker]}")
            counters[speaker] += 1
        final = draw(st.booleans())
        gap = draw(st.sampled_from([0.0, 0.3, 1.1, 2.6]))
        script.append((gap, say(speaker, " ".join(open_texts[speaker]), final)))
        if final:
            open_texts[speaker] = []
    script += [(0.1, say(speaker, " ".join(words), True)) for speaker, words in open_texts.items() if words]
    return script


@given(conversations())
def test_everybody_is_shown_whole_in_order_and_once(script: list[tuple[float, Caption]]) -> None:
    floor = CaptionFloor()
    screen = Screen()
    now = 0.0
    said: dict[str, list[str]] = {}
    for gap, caption in script:
        until = now + gap
        while (deadline := floor.next_deadline()) is not None and deadline <= until:
            now = max(now, deadline)
            shown = floor.tick(now)
            assert shown, "a deadline that leads to nothing would spin"
            screen.show(shown)
        now = until
        captions = floor.offer(caption, now)
        screen.show(captions)
        if caption.final:
            said.setdefault(caption.speaker, []).append(caption.text)
            assert captions == [] or captions[0].final
    assert floor.next_deadline() is None
    assert screen.unfinished() == []
    for speaker, texts in said.items():
        assert screen.text_of(speaker) == " ".join(texts)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "x y", "y", "z x y", "", "x y z"]), st.booleans()), max_size=40
    )
)
def test_engines_that_rewrite_anything_still_leave_a_whole_screen(steps: list[tuple[str, str, bool]]) -> None:
    floor = CaptionFloor()
    screen = Screen()
    finals = 0
    for index, (speaker, text, final) in enumerate(steps):
        if not text and not final:
            continue
        captions = floor.offer(say(speaker, text, final), index * 0.4)
        screen.show(captions)
        finals += sum(caption.final for caption in captions)
        assert {caption.speaker for caption in captions if not caption.final} <= {"a", "b", "c"}
    assert finals <= sum(final for _, _, final in steps) + floor.cuts
    deadline = floor.next_deadline()
    assert deadline is None or floor.tick(deadline)
