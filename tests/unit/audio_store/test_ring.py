# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.audio_store.budget import AudioBudget
from live_transcription.audio_store.codec import LOG_CODEC, BlockCodec
from live_transcription.audio_store.opus_blocks import OpusBlocks
from live_transcription.audio_store.ring import AudioRing
from live_transcription.types import SAMPLE_RATE, Frame
from sandbox import recording

#: A capacity that is no multiple of the block.
CAPACITY = SAMPLE_RATE * 11 // 2
FRAME = 1920

append = st.tuples(st.just("append"), st.integers(0, 3 * SAMPLE_RATE))
forget = st.tuples(st.just("forget"), st.integers(0, 20 * SAMPLE_RATE))


class ExactBlocks:
    """Stores a block with its lead and tail, and returns the block."""

    lead = 480
    tail = 480

    def pack(self, audio: Frame) -> bytes:
        assert len(audio) == self.lead + SAMPLE_RATE + self.tail
        return audio.tobytes()

    def unpack(self, packed: bytes, samples: int) -> Frame:
        return np.frombuffer(packed, np.float32)[self.lead : self.lead + samples].copy()


def samples(start: int, count: int) -> Frame:
    """Return samples that differ at each position."""
    return (np.arange(start, start + count) / 2.0**21).astype(np.float32)


@pytest.mark.parametrize("codec", [None, ExactBlocks()], ids=["plain", "packed"])
@settings(deadline=None)
@given(st.lists(st.one_of(append, forget), max_size=30), st.integers(0, CAPACITY), st.integers(0, CAPACITY))
def test_the_ring_stores_the_newest_audio_that_was_not_forgotten(
    codec: BlockCodec | None, steps: list[tuple[str, int]], offset: int, length: int
) -> None:
    budget = AudioBudget()
    ring = AudioRing(CAPACITY / SAMPLE_RATE, codec=codec, budget=budget)
    start = end = 0
    for step, amount in steps:
        if step == "append":
            ring.append(samples(end, amount))
            end += amount
            start = max(start, end - CAPACITY)
        else:
            ring.forget(amount)
            start = max(start, min(amount, end))
        assert (ring.start, ring.end, len(ring)) == (start, end, end - start)
        assert ring.memory_bytes <= (CAPACITY + 3 * SAMPLE_RATE) * 4 + 10_000
        position = min(start + offset, end)
        assert np.array_equal(ring.read(position, length), samples(position, min(length, end - position)))
    ring.close()
    assert budget.used_bytes == 0
    assert ring.memory_bytes == 0


def test_frames_are_copied_and_dropped_audio_cannot_be_read() -> None:
    ring = AudioRing(1.0)
    frame = np.ones(FRAME, np.float32)
    ring.append(frame)
    frame[:] = 0
    assert ring.read(0, FRAME).all()
    ring.forget(10)
    with pytest.raises(IndexError):
        ring.read(9, 1)
    with pytest.raises(IndexError):
        ring.read(1921, 1)
    with pytest.raises(ValueError, match="positive"):
        AudioRing(0)


def fill(ring: AudioRing, pcm: Frame, *, sent: bool = False) -> None:
    for start in range(0, len(pcm), FRAME):
        ring.append(pcm[start : start + FRAME])
        if sent:
            ring.sent = ring.end


def speech(seconds: int) -> Frame:
    pcm = recording.load("en-conference").pcm(SAMPLE_RATE)
    return np.resize(pcm, seconds * SAMPLE_RATE)


@pytest.mark.parametrize(("codec", "limit_bytes"), [(OpusBlocks(), 820_000), (LOG_CODEC, 3_200_000)], ids=["opus", "mu-law"])
def test_two_minutes_of_unsent_audio_take_little_memory_and_keep_their_sound(codec: BlockCodec, limit_bytes: int) -> None:
    pcm = speech(130)
    ring = AudioRing(120.0, codec=codec)
    fill(ring, pcm)
    said = pcm[ring.start :]
    heard = np.concatenate([ring.read(position, FRAME) for position in range(ring.start, ring.end, FRAME)])
    assert ring.memory_bytes < limit_bytes
    assert len(heard) == len(said) == 120 * SAMPLE_RATE
    error = heard - said
    # Sample by sample: a shift of a single sample would leave less than 10 dB.
    assert 10 * np.log10(np.mean(said**2) / np.mean(error**2)) > 15
    # A click at a joint would be a step of the error that is found nowhere else.
    step = np.abs(np.diff(error))
    joints = [position - ring.start for position in range(0, ring.end, SAMPLE_RATE) if position > ring.start]
    at_joints = np.array([step[joint - 60 : joint + 60].max() for joint in joints[:-3]])
    elsewhere = np.array([step[joint + 6000 : joint + 6120].max() for joint in joints[:-3]])
    assert at_joints.max() < 2 * elsewhere.max()


def test_sent_audio_is_compressed_with_mu_law_and_recompressed_when_it_stays() -> None:
    class Counting(ExactBlocks):
        packed = 0

        def pack(self, audio: Frame) -> bytes:
            self.packed += 1
            return audio[:: len(audio)].tobytes()

    codec = Counting()
    ring = AudioRing(120.0, codec=codec)
    fill(ring, speech(15), sent=True)
    assert codec.packed == 0
    assert ring.memory_bytes < 700_000
    ring.unsend()
    fill(ring, speech(30))
    assert codec.packed > 40


def test_random_reads_return_aligned_audio() -> None:
    pcm = speech(40)
    ring = AudioRing(120.0, codec=LOG_CODEC)
    fill(ring, pcm)
    for position in (5, 24_001, 700_000, 100_000, 950_000):
        ring.forget(position - 5_000)
        got = ring.read(max(position, ring.start), 3_000)
        at = max(position, ring.start)
        assert np.abs(got - pcm[at : at + 3_000]).max() < 0.03


def test_the_largest_holder_drops_its_oldest_audio_beyond_the_budget() -> None:
    budget = AudioBudget(limit_bytes=2_000_000)
    rings = [AudioRing(120.0, codec=LOG_CODEC, budget=budget) for _ in range(3)]
    for ring, seconds in zip(rings, (10, 60, 90), strict=True):
        fill(ring, speech(seconds))
        assert budget.used_bytes <= budget.limit_bytes
    assert sum(ring.memory_bytes for ring in rings) <= budget.limit_bytes
    assert rings[0].dropped == 0
    assert rings[1].dropped == rings[1].start > 0
    assert rings[2].dropped == rings[2].start > 0
    assert abs(len(rings[1]) - len(rings[2])) < 5 * SAMPLE_RATE
    for ring in rings:
        ring.close()
    assert budget.used_bytes == 0


def test_the_newest_audio_stays_however_small_the_budget() -> None:
    ring = AudioRing(120.0, codec=LOG_CODEC, budget=AudioBudget(limit_bytes=1))
    fill(ring, speech(10))
    assert ring.end == 10 * SAMPLE_RATE
    assert 0 < len(ring) <= SAMPLE_RATE
