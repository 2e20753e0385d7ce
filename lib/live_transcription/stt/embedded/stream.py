# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One speaker's stream through an embedded engine: audio in, hypotheses during speech, a final for each utterance.

An utterance ends at a flush or at the end of the stream. A long one is cut at a pause or, at worst, between two words. When the
speaker seems to have stopped, the final is decoded on trial; if the flush comes without another sound, it is ready by then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import soxr

from live_transcription.stt.base import Flushed, Hypothesis, SttEvent, SttStream
from live_transcription.stt.embedded.pool import DecodePool, Priority
from live_transcription.stt.embedded.recogniser import RATE, Recogniser, Samples
from live_transcription.stt.embedded.utterance import Utterance, pause, quietest
from live_transcription.types import SAMPLE_RATE, Frame

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Seconds of audio, except `events`.

    `first_partial_s`: audio (with pre-roll) before the first hypothesis; `growth_s`: new audio before the next. Up to `early_s`
    of audio the interval is multiplied by `early_share`, so that two hypotheses agree soon. `hush_s`: quiet after which no
    further hypothesis is begun; `trial_s`: quiet after which the final is decoded on trial. From `cut_s` on, an utterance is
    cut at a pause of `pause_s`, and at `longest_s` in any case; at least `least_s` remain before a cut. `shortest_s`: minimum
    length of an utterance. `waiting_s`: audio that may wait to be decoded before `send` makes its caller wait.
    """

    first_partial_s: float = 0.85
    growth_s: float = 0.25
    early_s: float = 2.7
    early_share: float = 0.6
    hush_s: float = 0.1
    trial_s: float = 0.2
    cut_s: float = 6.0
    pause_s: float = 0.16
    longest_s: float = 9.0
    least_s: float = 2.5
    shortest_s: float = 0.2
    waiting_s: float = 60.0
    events: int = 64


@dataclass(slots=True)
class _Closed:
    """An utterance that waits for its final, or just the flush that is to be answered then."""

    utterance: Utterance | None
    flushed: bool = field(default=False)


class EmbeddedStream(SttStream):
    """Made by `EmbeddedBackend.open_stream`, which runs `work` beside the caller's block."""

    def __init__(self, pool: DecodePool, recogniser: Recogniser, limits: StreamLimits | None = None) -> None:
        self._pool = pool
        self._recogniser = recogniser
        self._limits = limits or StreamLimits()
        self._resampler = soxr.ResampleStream(SAMPLE_RATE, RATE, 1, dtype="float32")
        self._open = Utterance(0.0)
        self._closed: deque[_Closed] = deque()
        self._ended = False
        # A hypothesis is being decoded and still wanted. After a quiet moment it is not, so that the trial final can start.
        self._guessing = False
        self._decoded_at = float("-inf")
        self._decoded_length = 0
        self._checked_s = 0.0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._events: deque[SttEvent | None] = deque()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()

    # For the speaker.

    async def send(self, frame: Frame) -> None:
        while self._waiting_s() > self._limits.waiting_s:
            self._room.clear()
            await self._room.wait()
        self._take(self._resampler.resample_chunk(frame))

    async def flush(self) -> None:
        self._close(flushed=True)

    async def end(self) -> None:
        self._close(flushed=False)
        self._ended = True
        self._news.set()

    async def events(self) -> AsyncIterator[SttEvent]:
        while True:
            while not self._events:
                self._arrived.clear()
                await self._arrived.wait()
            event = self._events.popleft()
            self._taken.set()
            if event is None:
                return
            yield event

    # Audio. Utterances are closed by what is in it alone, however late the decodes are.

    def _take(self, samples: Samples) -> None:
        self._open.append(samples)
        self._news.set()
        if self._guessing and self._fell_silent(self._open):
            self._guessing = False
        if self._open.duration_s >= max(self._limits.cut_s, self._checked_s):
            self._cut()

    def _cut(self) -> None:
        """Cut a long utterance where it hurts least, and leave the rest open."""
        limits = self._limits
        utterance = self._open
        self._checked_s = utterance.duration_s + 0.24
        if utterance.trial is not None and utterance.trial[0] >= limits.least_s * RATE:
            position: int | None = utterance.trial[0]
        else:
            position = pause(utterance.samples, limits.least_s, utterance.duration_s - 0.1, limits.pause_s)
        if position is None:
            if utterance.duration_s < limits.longest_s:
                return
            position = quietest(utterance.samples, limits.least_s, utterance.duration_s - 0.5)
        self._open = utterance.cut(position)
        self._checked_s = 0.0
        self._decoded_length = 0
        self._closed.append(_Closed(utterance))

    def _close(self, *, flushed: bool) -> None:
        """What is open ends here. The resampler starts afresh: the next audio need not follow on this."""
        self._open.append(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        self._resampler.clear()
        utterance, self._open = self._open, Utterance(self._open.end_s)
        self._guessing = False
        self._decoded_length = 0
        self._checked_s = 0.0
        self._closed.append(_Closed(utterance if len(utterance) else None, flushed))
        self._news.set()

    def _waiting_s(self) -> float:
        return sum(closed.utterance.duration_s for closed in self._closed if closed.utterance is not None)

    # Decoding.

    async def work(self) -> None:
        """Decode until the end; then the events end."""
        try:
            while True:
                if self._closed:
                    await self._finish(self._closed[0])
                    self._closed.popleft()
                    self._room.set()
                elif self._ended:
                    await self._emit(None)
                    return
                else:
                    await self._follow()
        finally:
            self._pool.later(self._recogniser.restart)

    async def _finish(self, closed: _Closed) -> None:
        utterance = closed.utterance
        if utterance is not None:
            text = await self._final(utterance)
            if text or utterance.shown:
                await self._emit(Hypothesis(text, final=True, start_s=utterance.start_s, end_s=utterance.end_s))
        if closed.flushed:
            await self._emit(Flushed())

    async def _final(self, utterance: Utterance) -> str:
        text = utterance.accept_trial()
        if utterance.duration_s < self._limits.shortest_s or utterance.silent:
            text = ""
        elif text is None:
            text = await self._decode(Priority.FINAL, lambda: partial(self._recogniser.final, utterance.samples))
        self._recogniser.restart()
        return utterance.shown if text is None else text

    async def _follow(self) -> None:
        """Decode the open utterance once, as it is by the time a slot is free; or wait until there is reason to."""
        limits = self._limits
        utterance = self._open
        grown_s = (len(utterance) - self._decoded_length) / RATE
        share = limits.early_share if utterance.duration_s < limits.early_s else 1.0
        interval_s = self._pool.partial_interval_s(share)
        due_in_s = self._decoded_at + interval_s - asyncio.get_running_loop().time()
        if grown_s < limits.growth_s:
            await self._wait(None)
        elif (due_in_s <= 0 or not self._pool.crowded) and self._fell_silent(utterance):
            await self._try_final(utterance)
        elif not self._decoded_length and utterance.duration_s < limits.first_partial_s:
            await self._wait(None)
        elif due_in_s > 0:
            await self._wait(due_in_s)
        elif limits.hush_s <= utterance.quiet_tail_s() < limits.trial_s:
            await self._wait(None)
        else:
            await self._show_partial(utterance)

    def _fell_silent(self, utterance: Utterance) -> bool:
        """Whether the speaker may have finished, and no final was decoded on trial yet."""
        return utterance.accept_trial() is None and utterance.quiet_tail_s() >= self._limits.trial_s

    async def _try_final(self, utterance: Utterance) -> None:
        length = 0

        def prepare() -> Callable[[], str]:
            nonlocal length
            length = self._begin(utterance)
            return partial(self._recogniser.final, utterance.samples)

        text = await self._decode(Priority.FIRST_PARTIAL, prepare)
        # Meanwhile the utterance may have been cut; the text then holds words of the next one.
        if text is not None and length <= len(utterance):
            utterance.trial = (length, text)
            await self._show(utterance, text)

    async def _show_partial(self, utterance: Utterance) -> None:
        def prepare() -> Callable[[], str | None]:
            self._begin(utterance)
            self._guessing = True
            return partial(self._recogniser.partial, utterance.samples, lambda: not self._guessing)

        text = await self._decode(Priority.PARTIAL if utterance.shown else Priority.FIRST_PARTIAL, prepare)
        self._guessing = False
        await self._show(utterance, text)

    def _begin(self, utterance: Utterance) -> int:
        self._decoded_at = asyncio.get_running_loop().time()
        if utterance is self._open:
            self._decoded_length = len(utterance)
        return len(utterance)

    async def _show(self, utterance: Utterance, text: str | None) -> None:
        """Send a hypothesis, unless it has no text or the utterance has ended."""
        if text and utterance is self._open:
            utterance.shown = text
            await self._emit(Hypothesis(text, final=False, start_s=utterance.start_s, end_s=utterance.end_s))

    async def _decode(self, priority: Priority, prepare: Callable[[], Callable[[], str | None]]) -> str | None:
        """None if it failed, which costs this text only."""
        try:
            return await self._pool.run(self, priority, prepare)
        except Exception:  # whatever an engine raises, the speaker's next words are decoded all the same
            logger.warning("A decode failed; its text is missing from the captions", exc_info=True)
            self._recogniser.restart()
            return None

    async def _wait(self, timeout_s: float | None) -> None:
        self._news.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return

    async def _emit(self, event: SttEvent | None) -> None:
        """Queue an event. A hypothesis replaces an unread one. Waits while the queue is full."""
        last = self._events[-1] if self._events else None
        if isinstance(event, Hypothesis) and isinstance(last, Hypothesis) and not last.final:
            self._events.pop()
        while len(self._events) >= self._limits.events:
            self._taken.clear()
            await self._taken.wait()
        self._events.append(event)
        self._arrived.set()
