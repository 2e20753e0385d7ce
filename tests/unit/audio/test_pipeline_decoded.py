# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Audio that the stock receive path has decoded already."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np

from live_transcription.audio.frame_queue import FrameQueue, FrameQueueClosed
from live_transcription.audio.opus import OpusEncoder
from live_transcription.audio.pipeline import AudioPipeline
from live_transcription.types import AudioGap, AudioPacket, DecodedAudio, Frame


def played(items: list[AudioPacket | AudioGap | DecodedAudio]) -> tuple[Frame, AudioPipeline]:
    queue = FrameQueue(120.0)
    pipeline = AudioPipeline(queue)
    for item in items:
        pipeline.feed(item)
    pipeline.drain()
    queue.close()

    async def read() -> list[Frame]:
        frames: list[Frame] = []
        with suppress(FrameQueueClosed):
            while (frame := await queue.get()) is not None:
                frames.append(frame)
        return frames

    frames = asyncio.run(read())
    assert {len(frame) for frame in frames} == {1920}
    return np.concatenate(frames), pipeline


def tone(samples: int, rate: int) -> Frame:
    return (0.4 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)).astype(np.float32)


def decoded(samples: int) -> list[DecodedAudio]:
    stereo = np.repeat((tone(samples, 48_000) * 32_768).astype(np.int16)[:, None], 2, axis=1)
    return [DecodedAudio(stereo[start : start + 960], 48_000) for start in range(0, samples, 960)]


def test_it_is_resampled_without_a_seam_between_its_pieces() -> None:
    audio, pipeline = played([*decoded(48_000)])
    expected = tone(24_000, 24_000)
    noise = audio[2_000:20_000] - expected[2_000:20_000]
    assert 10 * np.log10(np.mean(expected**2) / np.mean(noise**2)) > 60
    assert abs(pipeline.statistics.decoded_samples - 24_000) < 10


def test_the_receive_path_may_change_in_mid_stream() -> None:
    encoder = OpusEncoder()
    packets = [AudioPacket(encoder.encode(tone(960, 48_000)), number, number * 960) for number in range(27)]
    audio, pipeline = played([*packets, *decoded(27 * 960), *packets])
    assert abs(len(audio) - 3 * 27 * 480) < 1920
    assert (pipeline.statistics.packets, pipeline.statistics.concealed_samples) == (54, 0)
