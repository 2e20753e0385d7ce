# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from live_transcription.stt.kyutai.steps import StreamTime


def test_inserted_silence_does_not_count_as_stream_time() -> None:
    time = StreamTime()
    assert time.to_stream(1.5) == 1.5
    time.insert(2.0, 0.5)
    time.insert(4.0, 1.0)
    assert [time.to_stream(at) for at in (1.0, 2.0, 2.3, 2.5, 3.9, 4.0, 4.7, 5.0, 6.0)] == [
        1.0, 2.0, 2.0, 2.0, 3.4, 3.5, 3.5, 3.5, 4.5,
    ]  # fmt: skip


@given(st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 2)), max_size=100), st.floats(0, 1000), st.floats(0, 10))
def test_stream_time_never_runs_backwards(silences: list[tuple[float, float]], at: float, step: float) -> None:
    time = StreamTime()
    server_s = 0.0
    for speech_s, silence_s in silences:
        time.insert(server_s + speech_s, silence_s)
        server_s += speech_s + silence_s
    assert 0 <= time.to_stream(at) <= time.to_stream(at + step) + 1e-6
