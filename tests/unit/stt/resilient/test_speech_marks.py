# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from live_transcription.stt.resilient.speech_marks import SpeechMarks


@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=20),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 300),
)
def test_marks_are_those_of_each_sample(changes: list[tuple[int, bool]], start: int, stop: int, forgotten: int) -> None:
    marks, truth, position, active = SpeechMarks(), [False] * 400, 0, False
    for ahead, now_active in changes:
        position += ahead
        active = now_active
        marks.mark(position, active)
        truth[position:] = [active] * (400 - position)
    start, stop = sorted((start, stop))
    assert marks.samples(start, stop) == sum(truth[start:stop])
    assert marks.at(start) is truth[start]
    marks.forget(min(forgotten, start))
    assert marks.samples(start, stop) == sum(truth[start:stop])
    assert marks.at(start) is truth[start]
