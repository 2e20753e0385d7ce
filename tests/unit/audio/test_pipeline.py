# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.audio.frame_queue import FrameQueue, FrameQueueClosed
from live_transcription.audio.opus import PyavDecoder
from live_transcription.audio.pipeline import AudioPipeline
from live_transcription.types import AudioGap, AudioPacket, Frame
from sandbox.caller.opus_encoder import OpusEncoder


def speech(seconds: float) -> Frame:
    """Return a sound with the bandwidth of speech: harmonics that slowly swell."""
    time = np.arange(int(seconds * 48_000)) / 48_000
    voice = sum(np.sin(2 * np.pi * 150 * harmonic * time) / harmonic for harmonic in range(1, 12))
    return (0.2 * voice * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))).astype(np.float32)


def encode(audio: Frame, *, level: int | None = None, fec: bool = False) -> list[AudioPacket]:
    encoder = OpusEncoder(bitrate=24_000, expected_loss_percent=25 if fec else 0, fec=fec)
    return [
        AudioPacket(encoder.encode(audio[start : start + 960]), start // 960, start, level)
        for start in range(0, len(audio), 960)
    ]


def played(items: list[AudioPacket | AudioGap], frame_ms: int = 80) -> tuple[Frame, AudioPipeline]:
    async def read() -> list[Frame]:
        queue = FrameQueue(120.0)
        nonlocal pipeline
        pipeline = AudioPipeline(queue, frame_ms=frame_ms)
        for item in items:
            pipeline.feed(item)
        pipeline.drain()
        queue.close()
        frames: list[Frame] = []
        with suppress(FrameQueueClosed):
            while (frame := await queue.get()) is not None:
                frames.append(frame)
        return frames

    pipeline = AudioPipeline(FrameQueue())
    frames = asyncio.run(read())
    assert {len(frame) for frame in frames} <= {24 * frame_ms}
    audio = np.concatenate(frames) if frames else np.zeros(0, dtype=np.float32)
    assert np.isfinite(audio).all()
    assert np.abs(audio).max(initial=0.0) <= 1.0
    return audio, pipeline


@pytest.mark.parametrize("frame_ms", [80, 200])
def test_the_last_frame_is_padded(frame_ms: int) -> None:
    audio, _ = played(list(encode(speech(0.5))), frame_ms)
    samples = 24 * frame_ms
    assert len(audio) == -(-12_000 // samples) * samples
    assert np.abs(audio[11_000:12_000]).max() > 0.05


def test_a_malformed_packet_affects_no_other_audio() -> None:
    good = encode(speech(2.0))
    clean, _ = played(list(good))
    broken = [
        AudioPacket(b"\xff\xff\xff\x00\x01", p.sequence_number, p.timestamp) if i % 20 == 7 else p for i, p in enumerate(good)
    ]
    audio, pipeline = played(list(broken))
    assert len(audio) == len(clean)
    assert pipeline.statistics.malformed == 5
    assert pipeline.statistics.concealed_samples == 5 * 480
    assert np.abs(audio[-9_600:]).max() > 0.05


def test_lost_audio_is_recovered_by_fec() -> None:
    good = encode(speech(1.0), fec=True)
    whole, _ = played(list(good))
    errors = {}
    for fec in (True, False):
        items: list[AudioPacket | AudioGap] = list(good)
        for lost in range(4, 48, 4):
            items[lost] = AudioGap(960, lost=True, fec_payload=good[lost + 1].payload if fec else None)
        audio, pipeline = played(items)
        assert len(audio) == len(whole)
        assert (pipeline.statistics.recovered_samples > 4 * 480) is fec
        errors[fec] = float(np.mean((audio - whole) ** 2))
    assert errors[True] < errors[False] / 2


@pytest.mark.parametrize("ticks", [960, 2_880, 48_000, 1_000, 7, 0])
@pytest.mark.parametrize("lost", [True, False])
def test_a_gap_is_as_long_as_stated(ticks: int, lost: bool) -> None:
    good = encode(speech(0.8))
    audio, pipeline = played([*good[:20], AudioGap(ticks, lost=lost), *good[20:]])
    statistics = pipeline.statistics
    total = (
        statistics.decoded_samples + statistics.concealed_samples + statistics.recovered_samples + statistics.silence_samples
    )
    assert total == 19_200 + ticks // 2
    assert len(audio) == -(-total // 1920) * 1920


def test_a_mute_is_silence_without_a_click() -> None:
    good = encode(speech(0.8))
    audio, _ = played([*good[:20], AudioGap(53_760, lost=False), *good[20:]])
    assert not audio[20 * 480 + 240 : 20 * 480 + 26_880].any()
    steps = np.abs(np.diff(audio))
    spoken, _ = played(list(good))
    assert steps.max() <= np.abs(np.diff(spoken)).max() * 1.2


def test_digital_silence_is_not_decoded_and_speech_after_it_is() -> None:
    voice = encode(speech(0.4))
    quiet = [AudioPacket(p.payload, p.sequence_number, p.timestamp, 127) for p in encode(np.zeros(96_000, dtype=np.float32))]
    audio, pipeline = played([*voice, *quiet, *voice])
    assert pipeline.statistics.silent > 80
    assert len(audio) == pytest.approx(2.8 * 24_000, abs=1920)
    assert not audio[24_000:50_000].any()
    assert np.abs(audio[-7_000:]).max() > 0.05


packet = st.builds(
    AudioPacket,
    st.binary(max_size=200),
    st.integers(0, 65_535),
    st.integers(0, 2**32 - 1),
    st.none() | st.integers(0, 127),
)
gap = st.builds(AudioGap, st.integers(-(2**31), 2**31), st.booleans(), st.none() | st.binary(max_size=100))


@settings(max_examples=150, deadline=None)
@given(st.lists(packet | gap, max_size=8))
def test_nothing_makes_the_pipeline_raise(items: list[AudioPacket | AudioGap]) -> None:
    played(items)


def test_a_frame_comes_out_with_the_packet_that_completes_it() -> None:
    queue = FrameQueue()
    pipeline = AudioPipeline(queue)
    for number, item in enumerate(encode(speech(1.0)), start=1):
        pipeline.feed(item)
        assert queue.buffered_s == pytest.approx(number // 4 * 0.08)


@pytest.mark.parametrize("milliseconds", [2.5, 5, 10, 20, 40, 60])
def test_packets_of_any_length_sound_the_same(milliseconds: float) -> None:
    voice = speech(1.2)
    size = int(48 * milliseconds)
    encoder = OpusEncoder(bitrate=64_000, fec=False)
    packets = [
        AudioPacket(encoder.encode(voice[start : start + size]), number, start)
        for number, start in enumerate(range(0, len(voice), size))
    ]
    audio, pipeline = played(list(packets))
    assert len(audio) == 28_800
    assert pipeline.statistics.decoded_samples == 28_800
    level = float(np.sqrt(np.mean(voice**2)))
    assert float(np.sqrt(np.mean(audio**2))) == pytest.approx(level, rel=0.05)


def dtx(seconds: float) -> list[AudioPacket]:
    return [AudioPacket(bytes((15 << 3,)), number, number * 960, 90) for number in range(int(seconds * 50))]


@pytest.mark.parametrize("quiet", [dtx(0.8), [AudioGap(38_400, lost=False)]])
def test_audio_that_is_not_transmitted_is_silence_without_a_click(quiet: list[AudioPacket | AudioGap]) -> None:
    voice = encode(speech(0.8))
    audio, pipeline = played([*voice[:21], *quiet, *voice[21:]])
    silence = audio[21 * 480 : 21 * 480 + 19_200]
    assert not silence[120:].any()
    assert pipeline.statistics.silence_samples == 19_200
    spoken, _ = played(list(voice))
    assert np.abs(np.diff(audio)).max() <= np.abs(np.diff(spoken)).max() * 1.2


@pytest.mark.parametrize("kind", ["digital silence", "DTX", "no packets", "digital silence with loss"])
def test_a_muted_publisher_makes_no_frames_until_it_speaks(kind: str) -> None:
    voice = encode(speech(0.4))
    level_127 = [AudioPacket(b"\x78" + bytes(9), number, 0, 127) for number in range(500)]
    quiet: dict[str, list[AudioPacket | AudioGap]] = {
        "digital silence": [*level_127],
        "DTX": [*dtx(10)],
        "no packets": [AudioGap(48_000, lost=False)] * 10,
        "digital silence with loss": [AudioGap(960, lost=True) if n % 20 == 7 else p for n, p in enumerate(level_127)],
    }
    near = [AudioPacket(p.payload, 0, 0, 127) for p in encode(np.zeros(4_800, dtype=np.float32))]  # takes the decoder to rest
    audio, pipeline = played([*voice, *near, *quiet[kind], *voice])
    assert 2.8 * 24_000 <= len(audio) <= 3.1 * 24_000
    assert pipeline.statistics.omitted_samples > 7.5 * 24_000
    again, _ = played([*voice, *near, *voice])
    spoken = 0.4 * 24_000
    assert np.square(audio[-int(spoken) :]).sum() > 0.9 * np.square(again[-int(spoken) :]).sum()


def skipping(packets: list[AudioPacket]) -> list[AudioPacket | AudioGap]:
    """Return one packet in 16, and gaps, as from a socket with a filter."""
    return [item for packet in packets[15::16] for item in (AudioGap(15 * 960, lost=False), packet)]


def test_filtered_silence_counts_as_silence() -> None:
    voice = encode(speech(0.4))
    near = [AudioPacket(p.payload, 0, 0, 127) for p in encode(np.zeros(120_000, dtype=np.float32))]
    level_127 = [AudioPacket(b"\x78" + bytes(9), number, 0, 127) for number in range(480)]
    again = [AudioGap(7 * 960, lost=False), *voice]
    audio, pipeline = played([*voice, *near, *skipping(level_127), *again])
    whole, reference = played([*voice, *near, *level_127, *level_127[:7], *voice])
    np.testing.assert_array_equal(audio, whole)
    assert pipeline.statistics.omitted_samples == reference.statistics.omitted_samples
    assert pipeline.statistics.silence_samples == reference.statistics.silence_samples
    assert pipeline.statistics.decoded_samples == reference.statistics.decoded_samples


@pytest.mark.parametrize("before", [1, 20, 99, 110])
def test_filtered_silence_is_filled_while_the_pipeline_is_not_idle(before: int) -> None:
    voice = encode(speech(0.4))
    level_127 = [AudioPacket(b"\x78" + bytes(9), number, 0, 127) for number in range(160 + before)]
    near = [AudioPacket(p.payload, 0, 0, 127) for p in encode(np.zeros(4_800, dtype=np.float32))]
    gap = AudioGap(960, lost=True)
    audio, pipeline = played([*voice, *near, *level_127[:before], gap, *skipping(level_127[before:]), *voice])
    whole, reference = played([*voice, *near, *level_127[:before], gap, *level_127[before:], *voice])
    assert len(audio) == pytest.approx(len(whole), abs=1920)
    statistics, expected = pipeline.statistics, reference.statistics
    assert statistics.decoded_samples == expected.decoded_samples
    rested = statistics.omitted_samples + statistics.silence_samples
    assert rested == expected.omitted_samples + expected.silence_samples


def test_frames_stay_complete_after_draining_in_the_middle_of_one() -> None:
    voice = encode(speech(0.8))
    queue = FrameQueue()
    pipeline = AudioPipeline(queue)
    for item in voice[:6]:
        pipeline.feed(item)
    assert queue.buffered_s == pytest.approx(1 * 0.08)
    pipeline.drain()
    assert queue.buffered_s == pytest.approx(2 * 0.08)
    for item in voice[6:10]:
        pipeline.feed(item)
    assert queue.buffered_s == pytest.approx(3 * 0.08)


def test_with_ffmpeg_the_timeline_is_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live_transcription.audio.pipeline.decoder", PyavDecoder)
    audio, pipeline = played([*encode(speech(0.8))])
    assert len(audio) == pipeline.statistics.decoded_samples == 19_200
    assert np.abs(audio[-4_800:]).max() > 0.05
