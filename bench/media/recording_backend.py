# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The product's receive path with a backend that stores the audio instead of transcribing it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.media.ours import no_servers
from live_transcription.config import AudioConfig, EngineConfig, HpbConfig
from live_transcription.speaker.speaker import Speaker
from live_transcription.stt.base import SttBackend, SttEvent, SttStream
from live_transcription.types import SAMPLE_RATE, Frame, Secret
from live_transcription.webrtc.subscriber import SubscriberChannel

_CONFIG = EngineConfig(
    hpb=HpbConfig("wss://signaling.example.com", Secret("unused"), "https://cloud.example.com"), audio=AudioConfig(gate=False)
)


class _Stream(SttStream):
    def __init__(self, frames: list[Frame]) -> None:
        self._frames = frames
        self._ended = asyncio.Event()

    async def send(self, frame: Frame) -> None:
        self._frames.append(np.array(frame, np.float32))

    async def flush(self) -> None:
        return

    async def end(self) -> None:
        self._ended.set()

    async def events(self) -> AsyncIterator[SttEvent]:
        await self._ended.wait()
        return
        yield


class Keeper(SttBackend):
    name = "keeper"
    languages = frozenset({"en", "fr"})

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        del language
        yield _Stream(self.frames)


@dataclass(frozen=True, slots=True)
class Received:
    """`samples`: float32, 24 kHz mono. Milliseconds by where audio came from; packets as the jitter buffer counted them."""

    samples: npt.NDArray[np.float32]
    concealed_ms: float
    recovered_ms: float
    left_out_ms: float
    lost: int
    late: int
    reordered: int

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE


class KeepingSpeaker:
    """One speaker whose gate is open all the time. `run` until `end`; then `received`."""

    def __init__(self, peer: str, channel: SubscriberChannel) -> None:
        self._keeper = Keeper()
        self._jitter: dict[str, Any] = {}
        self.speaker = Speaker(
            peer,
            "en",
            _CONFIG,
            self._keeper,
            channel=channel,
            ice_servers=no_servers,
            on_caption=lambda caption: None,  # noqa: ARG005  there are none
            on_utterance=lambda utterance: None,  # noqa: ARG005  nor any of these
            on_error=lambda error: None,  # noqa: ARG005  it cannot fail
        )

    def note(self) -> None:
        """Look at the counts of the transport, which go when it is replaced: a speaker without RTP is requested again."""
        subscriber = self.speaker._subscriber
        if subscriber is not None and subscriber.jitter.received >= self._jitter.get("received", 0):
            self._jitter = asdict(subscriber.jitter)

    def end(self) -> None:
        self.note()
        self.speaker.end()

    def received(self) -> Received:
        frames = self._keeper.frames
        # The counts of the speaker's own parts; nothing outside asks for them by speaker.
        counts = asdict(self.speaker._pipeline.statistics)
        milliseconds = {
            name: counts.get(f"{name}_samples", 0) * 1000 / SAMPLE_RATE for name in ("concealed", "recovered", "rested")
        }
        return Received(
            np.concatenate(frames) if frames else np.zeros(0, np.float32),
            milliseconds["concealed"],
            milliseconds["recovered"],
            milliseconds["rested"],
            self._jitter.get("lost", 0),
            self._jitter.get("late", 0),
            self._jitter.get("reordered", 0),
        )
