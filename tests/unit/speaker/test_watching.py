# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A speaker from packets to the stream, with real voice activity detection: silence, speech, and wrong audio levels."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from live_transcription.audio.pipeline import AudioPipeline, PipelineStatistics
from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.speaker import speaker as module
from live_transcription.speaker.speaker import Speaker
from live_transcription.types import SAMPLE_RATE, AudioPacket, Frame, IceServer, Secret, TurnAnswer
from live_transcription.vad.speech_watch import SpeechWatch
from live_transcription.webrtc.jitter_buffer import JitterStatistics
from sandbox import recording, virtual_clock
from sandbox.caller import OpusPacket, from_recording, room_noise
from sandbox.caller.speech import FRAME_S, FRAME_TICKS
from tests.fakes.stt import FakeBackend

CONFIG = EngineConfig(hpb=HpbConfig("wss://signaling.example.com", Secret("secret"), "https://cloud.example.com"))
RECORDED = recording.load("en-short")
SPEECH = from_recording(RECORDED).packets
ONSET_S = RECORDED.utterances[0].speech[0][0]
NOISE = room_noise().packets


class Parts:
    """The parts that the speaker makes for itself: its transport, its audio pipeline, and its watch for speech."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.transports: list[Transport] = []
        self.pipelines: list[AudioPipeline] = []
        self.watches: list[SpeechWatch] = []
        for name, make, made in (
            ("Subscriber", Transport, self.transports),
            ("AudioPipeline", AudioPipeline, self.pipelines),
            ("SpeechWatch", SpeechWatch, self.watches),
        ):
            monkeypatch.setattr(module, name, partial(self._make, make, made))

    @staticmethod
    def _make(make: Callable[..., Any], made: list[Any], *args: Any, **options: Any) -> Any:
        made.append(make(*args, **options))
        return made[-1]


class Transport:
    """Replaces `Subscriber`: the test provides packets and their audio levels."""

    def __init__(self, channel: Any, servers: Any, sink: Callable[[AudioPacket], None], **options: Any) -> None:
        self.sink = sink
        self.levels_ignored = False
        self.connected = True
        self.first_packet_at: float | None = None
        self.last_packet_at: float | None = None
        self.turn_answers: dict[str, TurnAnswer] = {}
        self.jitter = JitterStatistics()

    async def run(self) -> None:
        await asyncio.Event().wait()

    def ignore_audio_levels(self) -> None:
        self.levels_ignored = True


class Publisher:
    """`level`: None sends no level, a number always that level, "right" the correct one."""

    def __init__(self, parts: Parts, backend: FakeBackend, level: int | str | None, speaker: Speaker) -> None:
        self.parts, self.backend, self.level, self.speaker = parts, backend, level, speaker
        self.sent = 0

    @property
    def transport(self) -> Transport:
        return self.parts.transports[-1]

    async def send(self, packets: Iterable[OpusPacket]) -> None:
        for packet in packets:
            level = None if self.transport.levels_ignored else packet.level if isinstance(self.level, str) else self.level
            self.transport.sink(AudioPacket(packet.payload, self.sent & 0xFFFF, self.sent * FRAME_TICKS, level))
            self.sent += 1
            await asyncio.sleep(FRAME_S)

    async def be_silent(self, seconds: float) -> None:
        await self.send([NOISE[number % len(NOISE)] for number in range(round(seconds / FRAME_S))])

    @property
    def frames(self) -> Frame:
        """The frames that the streams received."""
        sent = [frame for stream in self.backend.streams for frame in stream.frames]
        return np.concatenate([np.zeros(0, np.float32), *sent])

    @property
    def decoded_s(self) -> float:
        return self.statistics.decoded_samples / SAMPLE_RATE

    @property
    def statistics(self) -> PipelineStatistics:
        (pipeline,) = self.parts.pipelines
        return pipeline.statistics

    @property
    def withheld_s(self) -> float:
        """Audio that waits undecoded since it may hold no speech."""
        return sum(watch.buffered_samples for watch in self.parts.watches) / SAMPLE_RATE


@contextlib.asynccontextmanager
async def publisher(monkeypatch: pytest.MonkeyPatch, level: int | str | None = "right") -> AsyncIterator[Publisher]:
    async def no_servers() -> Sequence[IceServer]:
        return ()

    parts = Parts(monkeypatch)
    backend = FakeBackend()
    speaker = Speaker(
        "speaker-1", "en", CONFIG, backend,
        channel=None,  # type: ignore[arg-type]  only the transport would use it
        ice_servers=no_servers, on_caption=lambda caption: None, on_utterance=lambda utterance: None,
        on_error=lambda error: None,
    )  # fmt: skip
    running = asyncio.create_task(speaker.run())
    await asyncio.sleep(0.1)
    yield Publisher(parts, backend, level, speaker)
    speaker.end()
    await running


def rms(frame: Frame) -> float:
    return float(np.sqrt(np.mean(np.square(frame))))


@pytest.mark.parametrize("level", ["right", None, 0, 60], ids=["levels", "no levels", "always loud", "always quiet"])
def test_the_first_word_after_a_long_silence_reaches_the_stream_whole(
    monkeypatch: pytest.MonkeyPatch, level: int | str | None
) -> None:
    async def run() -> None:
        said = 0
        async with publisher(monkeypatch, level) as ours:
            await ours.be_silent(30)
            assert ours.backend.streams == []
            while not ours.backend.streams:
                await ours.send([SPEECH[said]])
                said += 1
            withheld_s = [0.0]
            for packet in SPEECH[said:]:
                await ours.send([packet])
                withheld_s.append(ours.withheld_s)
            assert max(withheld_s) == 0.0, "while a stream is open, audio is decoded at once"
            await ours.be_silent(2)
            frames = ours.frames
            assert len(ours.backend.streams) == 1
            assert len(frames) / SAMPLE_RATE >= RECORDED.utterances[-1].end_s - ONSET_S
            assert rms(frames[: SAMPLE_RATE // 5]) < 0.1 * rms(frames), "it begins with silence before the first word"

    virtual_clock.run(run())


def test_little_of_a_silent_publishers_audio_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with publisher(monkeypatch) as ours:
            await ours.be_silent(120)
            assert ours.decoded_s <= 6
            statistics = ours.statistics
            assert (statistics.decoded_samples + statistics.omitted_samples) / SAMPLE_RATE == pytest.approx(120, abs=4)

    virtual_clock.run(run())


@pytest.mark.parametrize("level", [0, 20])
def test_loud_levels_without_speech_open_no_stream(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    random = np.random.default_rng(7)
    garbage = [OpusPacket(bytes([0x78, *random.integers(0, 256, 60).tolist()]), level) for _ in range(500)]

    async def run() -> None:
        async with publisher(monkeypatch) as ours:
            for _ in range(10):
                await ours.send([OpusPacket(packet.payload, 70) for packet in NOISE[:50]])
                await ours.send([OpusPacket(packet.payload, level) for packet in NOISE[:100]])
            assert ours.backend.streams == []
            assert ours.decoded_s <= 15
            await ours.send(garbage)
            assert len(ours.frames) / SAMPLE_RATE <= 2.0, "of ten seconds without speech"

    virtual_clock.run(run())


def test_speech_with_the_level_of_digital_silence_is_transcribed_after_a_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with publisher(monkeypatch, 127) as ours:
            loop = asyncio.get_running_loop()
            began = loop.time()
            speaking = asyncio.create_task(ours.send([*SPEECH, *SPEECH, *SPEECH]))
            while not ours.backend.streams:  # noqa: ASYNC110  the clock is virtual
                await asyncio.sleep(0.1)
            assert loop.time() - began <= 6.0
            assert ours.transport.levels_ignored
            await speaking

    virtual_clock.run(run(), limit_s=60)


def test_a_pause_does_not_end_the_stream_and_after_a_long_one_the_watch_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with publisher(monkeypatch) as ours:
            await ours.send(SPEECH)
            await ours.be_silent(5)
            await ours.send(SPEECH)
            assert len(ours.backend.streams) == 1
            await ours.be_silent(30)
            assert ours.backend.streams[0].closed
            decoded_s = ours.decoded_s
            await ours.be_silent(60)
            assert ours.decoded_s - decoded_s <= 3
            await ours.send(SPEECH)
            assert len(ours.backend.streams) == 2

    virtual_clock.run(run())
