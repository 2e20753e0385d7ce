# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Many speakers at once through voice activity detection, gate, resilience, fallback, dialect and caption assembly."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from bench.common.child_process import Child
from bench.wire.marks import mark
from live_transcription.config import ModalConfig, MoshiConfig, SttConfig
from live_transcription.stt.base import SttBackend
from live_transcription.stt.engines import SttRegistry
from live_transcription.types import SAMPLE_RATE, Caption
from live_transcription.vad.detector import preload
from sandbox import recording
from sandbox.monologue import FRAME, FRAME_S, Monologue

#: Seconds at the start that do not count: handshakes, pre-rolls, first use of code.
_WARM_UP_S = 3.0
_WORD = re.compile(r"w(\d+)")


@dataclass
class Latencies:
    """Seconds, one value per frame and per word. `cores`: CPU seconds of this process per second."""

    audio_to_wire: list[float] = field(default_factory=list)
    wire_to_caption: list[float] = field(default_factory=list)
    cores: float = 0.0


@dataclass
class _Speaker:
    number: int
    put_at: dict[int, float] = field(default_factory=dict)
    shown_at: dict[int, float] = field(default_factory=dict)

    async def talk(self, backend: SttBackend, seconds: float, delay_s: float) -> None:
        pcm = recording.load("en-conference").pcm(SAMPLE_RATE)
        offset = self.number * 37 * FRAME % (len(pcm) - FRAME)
        loop = asyncio.get_running_loop()
        next_at = loop.time() + delay_s
        async with Monologue(backend, name=f"speaker-{self.number}", on_caption=self._shown) as monologue:
            for number in range(round(seconds / FRAME_S)):
                next_at += FRAME_S
                await asyncio.sleep(next_at - loop.time())
                start = (offset + number * FRAME) % (len(pcm) - FRAME)
                frame = mark(pcm[start : start + FRAME], self.number, number)
                # What comes while nobody speaks waits to be pre-roll; that is no delay of ours.
                if monologue.gate.speaking:
                    self.put_at[number] = time.monotonic()
                monologue.frames.put(frame)

    def _shown(self, caption: Caption) -> None:
        now = time.monotonic()
        for word in _WORD.findall(caption.text):
            self.shown_at.setdefault(int(word), now)


def only(dialect: str, url: str) -> SttConfig:
    """The engine of this dialect at `url`, and no other."""
    if dialect == "modal":
        return SttConfig(embedded=None, modal=ModalConfig(url=url))
    return SttConfig(embedded=None, moshi=MoshiConfig(url=url))


async def measure(dialect: str, speakers: int, seconds: float) -> Latencies:
    """`dialect`: "modal" or "moshi". In real time."""
    preload()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Child("bench.wire.server", dialect))
        registry = SttRegistry(only(dialect, server.greeting["url"]))
        stack.push_async_callback(registry.aclose)
        everyone = [_Speaker(number) for number in range(speakers)]
        cpu, began = time.process_time(), time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for one in everyone:
                tasks.create_task(one.talk(registry.backend(), seconds, FRAME_S * one.number / speakers))
        found = Latencies(cores=(time.process_time() - cpu) / (time.monotonic() - began))
        notes = await server.do("notes")
    first = began + _WARM_UP_S
    for one in everyone:
        arrived, sent = notes["arrived"].get(str(one.number), {}), notes["sent"].get(str(one.number), {})
        found.audio_to_wire += [
            arrived[str(number)] - at for number, at in one.put_at.items() if at >= first and str(number) in arrived
        ]
        found.wire_to_caption += [
            one.shown_at[int(word)] - at for word, at in sent.items() if at >= first and int(word) in one.shown_at
        ]
    return found
