# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Framer and frame queue."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.audio.frame_queue import EndOfStream, FrameQueue
from live_transcription.audio.framer import Framer
from live_transcription.types import Frame
from sandbox import virtual_clock


@given(st.lists(st.integers(0, 5_000), max_size=20), st.sampled_from([80, 200]))
def test_frames_contain_every_sample_in_order(lengths: list[int], frame_ms: int) -> None:
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


def test_frames_are_finite_and_in_range() -> None:
    wild = np.array([np.nan, np.inf, -np.inf, 7.0, -7.0, 0.25], dtype=np.float32)
    (frame,) = Framer(80).push(np.resize(wild, 1920))
    assert np.isfinite(frame).all()
    assert frame[:6].tolist() == [0.0, 1.0, -1.0, 1.0, -1.0, 0.25]


def frame(value: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(1920, value, dtype=np.float32)


class Ear:
    """Takes the values of frames until it has `enough` of them."""

    def __init__(self, enough: int = 1_000) -> None:
        self.heard: list[float] = []
        self._enough = enough

    def take(self, frame: Frame) -> bool:
        self.heard.append(float(frame[0]))
        return len(self.heard) < self._enough


async def test_a_full_queue_drops_the_oldest_frame_and_counts_it() -> None:
    queue = FrameQueue(0.4)
    for value in range(8):
        queue.put(frame(value))
    assert queue.buffered_s == pytest.approx(0.4)
    assert (queue.put_frames, queue.dropped_frames) == (8, 3)
    ear = Ear(enough=2)
    await queue.listen(ear.take)
    assert ear.heard == [3.0, 4.0]
    assert queue.buffered_s == pytest.approx(0.24)


async def test_a_closed_queue_delivers_its_frames_and_then_ends() -> None:
    queue, ear = FrameQueue(), Ear()
    queue.put(frame(1.0))
    queue.close()
    queue.put(frame(2.0))
    for _ in range(2):
        with pytest.raises(EndOfStream):
            await queue.listen(ear.take)
    assert ear.heard == [1.0]


async def test_a_waiting_listener_gets_each_frame_before_put_returns() -> None:
    queue, ear = FrameQueue(), Ear(enough=2)
    listening = asyncio.create_task(queue.listen(ear.take))
    await asyncio.sleep(0)
    for value in (1.0, 2.0, 3.0):
        queue.put(frame(value))
    assert ear.heard == [1.0, 2.0]
    assert queue.buffered_s == pytest.approx(0.08)
    await listening
    other = Ear()
    listening = asyncio.create_task(queue.listen(other.take))
    await asyncio.sleep(0)
    queue.put(frame(4.0))
    queue.close()
    with pytest.raises(EndOfStream):
        await listening
    assert other.heard == [3.0, 4.0]


async def test_an_error_of_the_listener_is_not_raised_in_put() -> None:
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


async def test_cancelling_the_listener_loses_no_frame() -> None:
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
    assert queue.buffered_s == pytest.approx(0.08)


def test_the_timeout_restarts_with_each_frame() -> None:
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
