# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Framer and frame queue."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.audio.frame_queue import FrameQueue, FrameQueueClosed
from live_transcription.audio.framer import Framer
from live_transcription.observability import metrics
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


async def taken(queue: FrameQueue, count: int) -> list[float]:
    """The values of the next frames."""
    frames = [await queue.get() for _ in range(count)]
    return [float(frame[0]) for frame in frames if frame is not None]


def dropped_frames() -> float:
    return metrics.registry.get_sample_value("live_transcription_frames_dropped_total") or 0.0


async def test_a_full_queue_drops_the_oldest_frames_and_counts_them() -> None:
    before = dropped_frames()
    queue = FrameQueue(0.4)
    for value in range(8):
        queue.put(frame(value))
    assert queue.buffered_s == pytest.approx(0.4)
    assert dropped_frames() == before + 3
    assert await taken(queue, 2) == [3.0, 4.0]
    assert queue.buffered_s == pytest.approx(0.24)


async def test_a_closed_queue_returns_its_remaining_frames_and_then_ends() -> None:
    queue = FrameQueue()
    queue.put(frame(1.0))
    queue.close()
    queue.put(frame(2.0))
    assert await taken(queue, 1) == [1.0]
    for _ in range(2):
        with pytest.raises(FrameQueueClosed):
            await queue.get()


async def test_closing_ends_the_wait_of_the_reader() -> None:
    queue = FrameQueue()
    reading = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.close()
    with pytest.raises(FrameQueueClosed):
        await reading


async def test_an_interrupt_ends_the_wait_without_a_frame_and_loses_none() -> None:
    queue = FrameQueue()
    reading = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.interrupt()
    assert await reading is None
    queue.put(frame(1.0))
    queue.interrupt()
    assert await taken(queue, 1) == [1.0]


async def test_a_cancelled_reader_loses_no_frame() -> None:
    queue = FrameQueue()
    reading = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put(frame(1.0))
    reading.cancel()
    await asyncio.wait([reading])
    queue.put(frame(2.0))
    assert await taken(queue, 2) == [1.0, 2.0]


def test_the_timeout_begins_anew_with_each_frame() -> None:
    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        queue, began = FrameQueue(), loop.time()

        async def read() -> None:
            while True:
                await queue.get(timeout_s=1.0)

        reading = asyncio.create_task(read())
        for _ in range(5):
            await asyncio.sleep(0.7)
            queue.put(frame(0.0))
        with pytest.raises(TimeoutError):
            await reading
        return loop.time() - began

    assert virtual_clock.run(scenario(), loopback_s=0) == pytest.approx(5 * 0.7 + 1.0)


def test_a_frame_that_comes_as_the_time_is_over_is_not_taken_for_silence() -> None:
    async def scenario() -> None:
        queue, frame = FrameQueue(), np.zeros(1920, np.float32)
        loop = asyncio.get_running_loop()
        reading = asyncio.create_task(queue.get(1.0))
        await asyncio.sleep(0)
        loop.call_at(loop.time() + 1.0, queue.put, frame)  # after the timer, and before the reader runs
        assert await reading is frame

    virtual_clock.run(scenario(), loopback_s=0.0)
