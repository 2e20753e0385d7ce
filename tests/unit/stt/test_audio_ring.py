# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.stt.audio_ring import AudioRing
from live_transcription.types import SAMPLE_RATE

#: A capacity that is no multiple of the block.
CAPACITY = SAMPLE_RATE * 5 // 2

append = st.tuples(st.just("append"), st.integers(0, 3 * SAMPLE_RATE))
forget = st.tuples(st.just("forget"), st.integers(0, 20 * SAMPLE_RATE))


@given(st.lists(st.one_of(append, forget), max_size=30), st.integers(0, CAPACITY), st.integers(0, CAPACITY))
def test_holds_exactly_the_newest_audio_that_was_not_forgotten(steps: list[tuple[str, int]], offset: int, samples: int) -> None:
    ring = AudioRing(CAPACITY / SAMPLE_RATE)
    said = np.empty(0, np.float32)
    start = 0
    for step, amount in steps:
        if step == "append":
            frame = np.arange(len(said), len(said) + amount, dtype=np.float32)
            said = np.concatenate((said, frame))
            ring.append(frame)
            start = max(start, len(said) - CAPACITY)
        else:
            ring.forget(amount)
            start = max(start, min(amount, len(said)))
        assert (ring.start, ring.end, len(ring)) == (start, len(said), len(said) - start)
        assert ring.memory_bytes <= (CAPACITY + 2 * SAMPLE_RATE) * 4
        position = min(start + offset, len(said))
        assert np.array_equal(ring.read(position, samples), said[position : position + samples])


def test_frames_are_copied_and_what_is_gone_cannot_be_read() -> None:
    ring = AudioRing(1.0)
    frame = np.ones(1920, np.float32)
    ring.append(frame)
    frame[:] = 0
    assert ring.read(0, 1920).all()
    ring.forget(10)
    with pytest.raises(IndexError):
        ring.read(9, 1)
    with pytest.raises(IndexError):
        ring.read(1921, 1)
    with pytest.raises(ValueError, match="positive"):
        AudioRing(0)
