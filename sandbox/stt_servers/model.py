# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""moshi-server's model loop: a fixed number of channels, one message of each channel per step (`batched_asr.rs`).

What clients stumble over is kept: a message shorter than 1920 samples costs a step like a whole one; a marker comes back by
the count of the server's steps, not of its session's, and those stop when nobody sends; queues of audio have no bound that a
client would meet.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np

from live_transcription.types import Frame
from sandbox.stt_servers.audio_locator import DELAY_STEPS, Hearing, SlotMemory
from sandbox.stt_servers.moshi_messages import Audio, Incoming, Init, Marker, Outgoing, Ready
from sandbox.stt_servers.words import FRAME_SAMPLES, WordSource, WordSources

#: The real queues are unbounded; a client that fills these (an hour of audio, a socket not read for minutes) loses its session.
MAX_INBOUND = 45_000
MAX_OUTBOUND = 20_000

#: Seconds that a step waits for words from a slow source before it goes without them.
PATIENCE_S = 5.0

#: How long a turn takes in which no channel had a whole frame.
_IDLE_STEP_S = 0.002


class NoFreeChannel(Exception):
    pass


class Channel:
    """One session's slot in the batch. `outbound` ends with None when the model has freed it."""

    def __init__(self, slot: int, source: WordSource, hearing: Hearing, work: asyncio.Event) -> None:
        self.slot = slot
        self.outbound: asyncio.Queue[Outgoing | None] = asyncio.Queue()
        self._source = source
        self._work = work
        self._inbound: deque[Incoming] = deque([Init()])
        self._samples: Frame = np.zeros(0, np.float32)
        self._unfed: Frame = np.zeros(0, np.float32)
        self._hearing = hearing
        self._input_ended = False
        self._gone = False
        self._held_since: float | None = None
        self.overrun = False

    @property
    def audio_s(self) -> float:
        return self._hearing.audio_s

    @property
    def waiting_messages(self) -> int:
        return len(self._inbound)

    def send(self, message: Incoming) -> None:
        """Queue a client's message; returns at once, as the real server does."""
        if len(self._inbound) >= MAX_INBOUND:
            self.overrun = True
        elif not self._input_ended:
            self._inbound.append(message)
            if isinstance(message, Audio):
                self._feed(message.pcm)
            self._work.set()

    def _feed(self, pcm: Frame) -> None:
        """A slow source starts on the audio as it comes, not when the model gets to it."""
        self._unfed = np.concatenate([self._unfed, np.nan_to_num(pcm)])
        while len(self._unfed) >= FRAME_SAMPLES:
            self._source.feed(self._unfed[:FRAME_SAMPLES])
            self._unfed = self._unfed[FRAME_SAMPLES:]

    def end_input(self) -> None:
        """The client sends no more: what is queued is still heard, then the channel is free."""
        self._input_ended = True
        self._work.set()

    def hang_up(self) -> None:
        """The client is gone: the model frees the slot at its next turn, which may be a step later."""
        self._gone = True
        self._work.set()

    def has_work(self, now: float) -> bool:
        if self._input_ended or self._gone or self.overrun:
            return True
        if not self._inbound and len(self._samples) < FRAME_SAMPLES:
            self._held_since = None
            return False
        if self._hearing.ready:
            self._held_since = None
            return True
        self._held_since = self._held_since if self._held_since is not None else now
        return now - self._held_since >= PATIENCE_S

    def receive(self) -> tuple[Incoming | None, Frame | None, bool]:
        """This step's message, the frame to process in it, and whether the channel stays open."""
        message = self._inbound.popleft() if self._inbound else None
        if self._gone or self.overrun or (message is None and self._input_ended):
            return None, None, False
        if isinstance(message, Audio):
            self._samples = np.concatenate([self._samples, message.pcm])
        if isinstance(message, Audio | None) and len(self._samples) >= FRAME_SAMPLES:
            frame, self._samples = self._samples[:FRAME_SAMPLES], self._samples[FRAME_SAMPLES:]
            return message, frame, True
        return message, None, True

    @property
    def buffered_frames(self) -> int:
        return len(self._samples) // FRAME_SAMPLES

    def hear(self, frame: Frame, step_idx: int) -> None:
        for message in self._hearing.step(frame, step_idx, len(self._samples)):
            self.emit(message)

    def emit(self, message: Outgoing | None) -> None:
        if message is not None and self.outbound.qsize() >= MAX_OUTBOUND:
            self.overrun = True
        else:
            self.outbound.put_nowait(message)


@dataclass(order=True)
class _PendingMarker:
    step_idx: int
    order: int
    marker_id: int = field(compare=False)
    channel: Channel = field(compare=False)


class Model:
    """The loop and its channels. `step_s`: how long one step of the batch takes; 15 ms allows five times real time, and above
    80 ms it falls behind without telling anybody. `delay_steps`, `pause_heads`: see `hearing.Hearing`.
    """

    def __init__(
        self,
        sources: WordSources,
        *,
        batch_size: int = 64,
        step_s: float = 0.015,
        delay_steps: int = DELAY_STEPS,
        pause_heads: bool = True,
    ) -> None:
        self._sources = sources
        self.batch_size = batch_size
        self.step_s = step_s
        self._delay_steps = delay_steps
        self._pause_heads = pause_heads
        self._memories = [SlotMemory() for _ in range(batch_size)]
        self._alive = asyncio.Event()
        self._alive.set()
        self._channels: list[Channel] = []
        self._work = asyncio.Event()
        self._markers: list[_PendingMarker] = []
        self._marker_order = itertools.count()
        self._step_idx = 0

    @property
    def used_slots(self) -> int:
        return len(self._channels)

    @property
    def alive(self) -> bool:
        return self._alive.is_set()

    def die(self) -> None:
        """End the loop, as an error of the GPU does. The server lives on, and its slots are never freed."""
        self._alive.clear()

    def restart(self) -> None:
        """As a new process: nothing of the old one is left."""
        self._channels.clear()
        self._markers.clear()
        self._step_idx = 0
        self._memories = [SlotMemory() for _ in range(self.batch_size)]
        self._alive.set()

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[Channel]:
        """A channel of one's own. Raises NoFreeChannel."""
        if len(self._channels) >= self.batch_size:
            raise NoFreeChannel
        async with self._sources(self._work.set) as source:
            if len(self._channels) >= self.batch_size:
                raise NoFreeChannel
            taken = {channel.slot for channel in self._channels}
            slot = next(slot for slot in range(self.batch_size) if slot not in taken)
            hearing = Hearing(source, self._memories[slot], delay_steps=self._delay_steps, pause_heads=self._pause_heads)
            channel = Channel(slot, source, hearing, self._work)
            self._channels.append(channel)
            self._work.set()
            try:
                yield channel
            finally:
                channel.hang_up()

    async def run(self) -> None:
        """Step forever; the owner cancels it."""
        loop = asyncio.get_running_loop()
        while True:
            await self._alive.wait()
            now = loop.time()
            busy = [channel for channel in self._channels if channel.has_work(now)]
            if busy:
                await asyncio.sleep(self.step_s if self._iterate(busy) else _IDLE_STEP_S)
                continue
            self._work.clear()
            holding = any(channel.waiting_messages for channel in self._channels)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._work.wait(), timeout=0.25 if holding else None)

    def _iterate(self, busy: list[Channel]) -> bool:
        """One turn over the channels; True if any had a whole frame."""
        frames: list[tuple[Channel, Frame]] = []
        for channel in busy:
            message, frame, alive = channel.receive()
            if not alive:
                self._free(channel)
            elif isinstance(message, Init):
                channel.emit(Ready())
            elif isinstance(message, Marker):
                due = self._step_idx + self._delay_steps + channel.buffered_frames
                heapq.heappush(self._markers, _PendingMarker(due, next(self._marker_order), message.id, channel))
            if frame is not None:
                frames.append((channel, frame))
        if not frames:
            return False
        self._step_idx += 1
        for channel, frame in frames:
            channel.hear(frame, self._step_idx)
        while self._markers and self._markers[0].step_idx <= self._step_idx:
            marker = heapq.heappop(self._markers)
            if marker.channel in self._channels:
                marker.channel.emit(Marker(marker.marker_id))
        return True

    def _free(self, channel: Channel) -> None:
        if channel in self._channels:
            self._channels.remove(channel)
            channel.emit(None)
