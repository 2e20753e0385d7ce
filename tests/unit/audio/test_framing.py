# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Framer, frame queue and resampler."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.audio.frame_queue import EndOfStream, FrameQueue
from live_transcription.audio.framer import Framer
from live_transcription.audio.resampler import Resampler
from live_transcription.types import Frame
from sandbox import virtual_clock


@given(st.lists(st.integers(0, 5_000), max_size=20), st.sampled_from([80, 200]))
def test_frames_hold_every_sample_in_order(lengths: list[int], frame_ms: int) -> None:
    framer = Framer(frame_ms)
    total = sum(lengths)
    samples = (np.arange(total) / max(1, total)).astype(np.float32)
    frames, position = [], 0
    for length in lengths:
        frames += framer.push(samples[position : position + length])
        position += length
    last = framer.drain()
    frames += [] if last is None else [last]
    assert {len(frame) for frame in frames} <= {24 * frame_ms}
    joined = np.concatenate(frames) if frames else np.zeros(0, dtype=np.float32)
    assert np.array_equal(joined[:total], samples)
    assert not joined[total:].any()
    assert framer.drain() is None


def test_a_frame_is_finite_and_within_one() -> None:
    wild = np.array([np.nan, np.inf, -np.inf, 7.0, -7.0, 0.25], dtype=np.float32)
    (frame,) = Framer(80).push(np.resize(wild, 1920))
    assert np.isfinite(frame).all()
    assert frame[:6].tolist() == [0.0, 1.0, -1.0, 1.0, -1.0, 0.25]


def frame(value: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(1920, value, dtype=np.float32)


class Ear:
    """Takes values of frames until it has heard `enough` of them."""

    def __init__(self, enough: int = 1_000) -> None:
        self.heard: list[float] = []
        self._enough = enough

    def take(self, frame: Frame) -> bool:
        self.heard.append(float(frame[0]))
        return len(self.heard) < self._enough


async def test_a_full_queue_drops_the_oldest_and_says_so() -> None:
    queue = FrameQueue(0.4)
    for value in range(8):
        queue.put(frame(value))
    statistics = queue.statistics()
    assert statistics.held_s == pytest.approx(0.4)
    assert (statistics.put_frames, statistics.dropped_frames) == (8, 3)
    assert statistics.dropped_s == pytest.approx(0.24)
    ear = Ear(enough=2)
    await queue.listen(ear.take)
    assert ear.heard == [3.0, 4.0]
    assert queue.statistics().held_s == pytest.approx(0.24)


async def test_a_closed_queue_gives_its_rest_and_then_ends() -> None:
    queue, ear = FrameQueue(), Ear()
    queue.put(frame(1.0))
    queue.close()
    queue.put(frame(2.0))
    for _ in range(2):
        with pytest.raises(EndOfStream):
            await queue.listen(ear.take)
    assert ear.heard == [1.0]


async def test_who_waits_has_each_frame_before_put_returns_and_the_rest_is_kept_once_it_has_enough() -> None:
    queue, ear = FrameQueue(), Ear(enough=2)
    listening = asyncio.create_task(queue.listen(ear.take))
    await asyncio.sleep(0)
    for value in (1.0, 2.0, 3.0):
        queue.put(frame(value))
    assert ear.heard == [1.0, 2.0]
    assert queue.statistics().held_s == pytest.approx(0.08)
    await listening
    other = Ear()
    listening = asyncio.create_task(queue.listen(other.take))
    await asyncio.sleep(0)
    queue.put(frame(4.0))
    queue.close()
    with pytest.raises(EndOfStream):
        await listening
    assert other.heard == [3.0, 4.0]


async def test_a_listener_that_fails_is_told_and_not_the_writer() -> None:
    def take(frame: Frame) -> bool:
        raise ValueError(float(frame[0]))

    queue, ear = FrameQueue(), Ear(enough=1)
    listening = asyncio.create_task(queue.listen(take))
    await asyncio.sleep(0)
    queue.put(frame(1.0))
    queue.put(frame(2.0))
    with pytest.raises(ValueError, match="1"):
        await listening
    await queue.listen(ear.take)
    assert ear.heard == [2.0]


async def test_a_listener_that_gives_up_loses_nothing() -> None:
    queue, ear = FrameQueue(), Ear(enough=2)
    listening = asyncio.create_task(queue.listen(ear.take))
    await asyncio.sleep(0)
    queue.put(frame(1.0))
    listening.cancel()
    queue.put(frame(2.0))
    assert ear.heard == [1.0], "it is not to be bothered any more, though it has not had its turn yet"
    await asyncio.wait([listening])
    queue.put(frame(3.0))
    await queue.listen(ear.take)
    await asyncio.sleep(0)
    assert ear.heard == [1.0, 2.0]
    assert queue.statistics().held_s == pytest.approx(0.08)


def test_patience_begins_anew_with_each_frame() -> None:
    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        queue, began = FrameQueue(), loop.time()
        listening = asyncio.create_task(queue.listen(Ear().take, timeout_s=1.0))
        for _ in range(5):
            await asyncio.sleep(0.7)
            queue.put(frame(0.0))
        with pytest.raises(TimeoutError):
            await listening
        return loop.time() - began

    assert virtual_clock.run(scenario(), loopback_s=0) == pytest.approx(5 * 0.7 + 1.0)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_small_chunks_resample_like_the_whole(rate: int) -> None:
    time = np.arange(rate) / rate
    signal = (0.5 * np.sin(2 * np.pi * 1_000 * time)).astype(np.float32)
    resampler = Resampler(rate)
    size = rate // 50
    parts = [resampler.push(signal[start : start + size]) for start in range(0, rate, size)]
    audio = np.concatenate([*parts, resampler.flush()])
    wanted = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(len(audio)) / 24_000)
    error = (audio - wanted)[1_200:-1_200]
    assert len(audio) == pytest.approx(24_000, abs=2)
    assert 10 * np.log10(0.125 / np.mean(error**2)) > 70


def test_stereo_int16_becomes_mono_float() -> None:
    stereo = np.full((2_400, 2), [16_384, 0], dtype=np.int16)
    assert Resampler(24_000, 2).push(stereo) == pytest.approx(np.full(2_400, 0.25))
