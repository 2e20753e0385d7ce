# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One speaker's stream with an embedded engine: it sends hypotheses during speech and a final for each utterance.

An utterance ends at a flush or at the end of the stream. A long one is cut at a pause, or between two words if there is no
pause. When the speaker seems to have stopped, the final is decoded early, as a trial. If a flush follows without further
speech, the trial is the final.
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
    """Limits of a stream. All are seconds of audio, except `early_share` and `events`.

    Hypotheses: the first one needs `first_speech_s` of speech, and each further one needs `growth_s` of new audio. Until two
    of them agree on the first word, but only up to `early_s`, their interval is multiplied by `early_share`. No hypothesis is
    begun after `quiet_s` without speech.

    Finals: a trial is decoded after `trial_s` without speech. From `cut_s` on, an utterance is cut at a pause of `pause_s`;
    at `longest_s` it is cut in any case. At least `least_s` remain before a cut. Utterances shorter than `shortest_s` have no
    text.

    Queues: `send` waits while more than `waiting_s` of audio waits for finals. At most `events` events are queued.
    """

    first_speech_s: float = 0.6
    growth_s: float = 0.15
    early_s: float = 2.7
    early_share: float = 0.32
    quiet_s: float = 0.1
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
    """An utterance that waits for its final, a flush that waits for its answer, or both."""

    utterance: Utterance | None
    flushed: bool = field(default=False)


class EmbeddedStream(SttStream):
    """A stream of `EmbeddedBackend.open_stream`, which runs `work` as a task while the stream is open."""

    def __init__(self, pool: DecodePool, recogniser: Recogniser, limits: StreamLimits | None = None) -> None:
        self._pool = pool
        self._recogniser = recogniser
        self._limits = limits or StreamLimits()
        self._resampler = soxr.ResampleStream(SAMPLE_RATE, RATE, 1, dtype="float32")
        self._open = Utterance(0.0)
        self._closed: deque[_Closed] = deque()
        self._ended = False
        # A hypothesis is being decoded. False again once the speaker pauses, so that the trial can start sooner.
        self._decoding_hypothesis = False
        self._decoded_at = float("-inf")
        self._decoded_length = 0
        self._checked_s = 0.0
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._events: deque[SttEvent | None] = deque()
        self._arrived = asyncio.Event()
        self._read = asyncio.Event()

    # The interface of `SttStream`.

    async def send(self, frame: Frame) -> None:
        while self._waiting_s() > self._limits.waiting_s:
            self._drained.clear()
            await self._drained.wait()
        self._take(self._resampler.resample_chunk(frame))

    async def flush(self) -> None:
        self._close(flushed=True)

    async def end(self) -> None:
        self._close(flushed=False)
        self._ended = True
        self._changed.set()

    async def events(self) -> AsyncIterator[SttEvent]:
        while True:
            while not self._events:
                self._arrived.clear()
                await self._arrived.wait()
            event = self._events.popleft()
            self._read.set()
            if event is None:
                return
            yield event

    # Audio. However long decodes take, an utterance is cut inside a word only if there is no quieter place.

    def _take(self, samples: Samples) -> None:
        self._open.append(samples)
        self._changed.set()
        if self._decoding_hypothesis and self._may_have_ended(self._open):
            self._decoding_hypothesis = False
        if self._open.duration_s >= max(self._limits.cut_s, self._checked_s):
            self._cut()

    def _cut(self) -> None:
        """Cut a long utterance at the best place. The rest is the next utterance."""
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
        self._request_final(_Closed(utterance))

    def _close(self, *, flushed: bool) -> None:
        """End the open utterance. The resampler is reset, since the next audio may not be contiguous."""
        self._open.append(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        self._resampler.clear()
        utterance, self._open = self._open, Utterance(self._open.end_s)
        self._request_final(_Closed(utterance if len(utterance) else None, flushed))

    def _request_final(self, closed: _Closed) -> None:
        self._closed.append(closed)
        self._checked_s = 0.0
        self._decoded_length = 0
        # No hypothesis of the closed utterance is needed. If one waits for a slot, the final must not wait behind it.
        self._decoding_hypothesis = False
        self._pool.withdraw(self)
        self._changed.set()

    def _waiting_s(self) -> float:
        return sum(closed.utterance.duration_s for closed in self._closed if closed.utterance is not None)

    # Decoding.

    async def work(self) -> None:
        """Decode until the stream ends, then end the events."""
        try:
            while True:
                if self._closed:
                    await self._finish(self._closed[0])
                    self._closed.popleft()
                    self._drained.set()
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
            text, language = await self._final(utterance)
            if text or utterance.shown:
                await self._emit(Hypothesis(text, True, utterance.start_s, utterance.end_s, language))
        if closed.flushed:
            await self._emit(Flushed())

    async def _final(self, utterance: Utterance) -> tuple[str, str | None]:
        """The final text and its language."""
        text = utterance.accept_trial()
        if utterance.duration_s < self._limits.shortest_s or utterance.silent:
            text = ""
        elif text is None:
            text = await self._decode(Priority.FINAL, lambda: partial(self._recogniser.final, utterance.samples))
        language = self._recogniser.language
        self._recogniser.restart()
        return utterance.last_text if text is None else text, language

    async def _follow(self) -> None:
        """Decode the open utterance once, or wait until a decode is due or there is new audio."""
        limits = self._limits
        utterance = self._open
        grown_s = (len(utterance) - self._decoded_length) / RATE
        interval_s = self._pool.interval_s(limits.early_share if self._is_early(utterance) else 1.0)
        due_in_s = self._decoded_at + interval_s - asyncio.get_running_loop().time()
        if grown_s < limits.growth_s:
            await self._wait(None)
        elif (due_in_s <= 0 or not self._pool.crowded) and self._may_have_ended(utterance):
            await self._decode_trial(utterance)
        elif not self._decoded_length and utterance.speech_s() < limits.first_speech_s:
            await self._wait(None)
        elif due_in_s > 0:
            await self._wait(due_in_s)
        elif limits.quiet_s <= utterance.quiet_tail_s() < limits.trial_s:
            await self._wait(None)
        else:
            await self._decode_hypothesis(utterance)

    def _is_early(self, utterance: Utterance) -> bool:
        """Whether the first word is still to be shown. Noise without words stops being early after a while."""
        return not utterance.agreed and utterance.duration_s < self._limits.early_s

    def _may_have_ended(self, utterance: Utterance) -> bool:
        """Whether the speaker may have finished and there is no trial yet."""
        return utterance.accept_trial() is None and utterance.quiet_tail_s() >= self._limits.trial_s

    async def _decode_trial(self, utterance: Utterance) -> None:
        length = 0

        def prepare() -> Callable[[], str] | None:
            nonlocal length
            # If the speaker spoke again while the trial waited for a slot, its audio may end inside a word.
            length = self._begin(utterance) if self._may_have_ended(utterance) else 0
            return partial(self._recogniser.final, utterance.samples) if length else None

        text = await self._decode(Priority.FIRST_WORDS, prepare)
        # If the utterance was cut meanwhile, the text includes words of the next one.
        if text is not None and length <= len(utterance):
            utterance.trial = (length, text)
            await self._show(utterance, text, length)

    async def _decode_hypothesis(self, utterance: Utterance) -> None:
        length = 0

        def prepare() -> Callable[[], str | None] | None:
            nonlocal length
            length = self._begin(utterance)
            if not length:
                return None
            self._decoding_hypothesis = True
            return partial(self._recogniser.partial, utterance.samples, lambda: not self._decoding_hypothesis)

        text = await self._decode(Priority.FIRST_WORDS if self._is_early(utterance) else Priority.HYPOTHESIS, prepare)
        self._decoding_hypothesis = False
        await self._show(utterance, text, length)

    def _begin(self, utterance: Utterance) -> int:
        """The number of samples to decode; 0 if the utterance has ended while the decode waited for a slot."""
        if utterance is not self._open:
            return 0
        self._decoded_at = asyncio.get_running_loop().time()
        self._decoded_length = len(utterance)
        return self._decoded_length

    async def _show(self, utterance: Utterance, text: str | None, length: int) -> None:
        """Send a hypothesis of the first `length` samples, unless it has no text or the utterance has ended."""
        if text and utterance is self._open:
            utterance.show(text, length)
            await self._emit(Hypothesis(text, False, utterance.start_s, utterance.end_s, self._recogniser.language))

    async def _decode(self, priority: Priority, prepare: Callable[[], Callable[[], str | None] | None]) -> str | None:
        """Run a decode. Returns None if it failed or was withdrawn; later decodes are not affected."""
        try:
            return await self._pool.run(self, priority, prepare)
        except Exception:  # an engine may raise any error; it must not end the stream
            logger.warning("A decode failed; its text is missing from the captions", exc_info=True)
            self._recogniser.restart()
            return None

    async def _wait(self, timeout_s: float | None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _emit(self, event: SttEvent | None) -> None:
        """Queue an event, or wait while the queue is full. An event replaces an unread hypothesis."""
        last = self._events[-1] if self._events else None
        if isinstance(event, Hypothesis) and isinstance(last, Hypothesis) and not last.final:
            self._events.pop()
        while len(self._events) >= self._limits.events:
            self._read.clear()
            await self._read.wait()
        self._events.append(event)
        self._arrived.set()
