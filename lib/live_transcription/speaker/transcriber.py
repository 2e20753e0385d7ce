# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Transcribes one speaker: frames go through the silence gate into a stream of the backend, events go to the captioner.

A stream lives from the first word to a long silence. When it fails, only this speaker waits: the open utterance is closed with
the words it has, and the next speech opens another stream after a backoff.

A stream needs a slot (`speaker.slot`), which is requested when speech begins. Without a slot, only the newest `WAITING_S` of
speech are kept, in case a slot becomes free. When the slot is taken away, the stream ends like any other: its last words are
delivered.

A change of language ends the stream, which may still have many words to deliver (a cold start). Speech in the meantime is
buffered for the next stream. So is speech between a retryable failure and the next attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence

from live_transcription.audio.frame_queue import FrameQueue, FrameQueueClosed
from live_transcription.audio_store.budget import PROCESS_BUDGET
from live_transcription.audio_store.opus_blocks import best_codec
from live_transcription.errors import SttError, leaves_of
from live_transcription.observability import metrics
from live_transcription.runtime.tasks import end_if_cancelled
from live_transcription.speaker.captioner import Captioner
from live_transcription.speaker.gated_frames import GatedFrames
from live_transcription.speaker.pending_speech import PendingSpeech, TimedAction
from live_transcription.speaker.slot import FreeSlot, Slot
from live_transcription.stt.base import Hints, SttBackend, SttStream
from live_transcription.transcript import GapReason
from live_transcription.types import SAMPLE_RATE
from live_transcription.vad.gate import CloseStream, Flush, OpenStream, SilenceGate, Speech

logger = logging.getLogger(__name__)

#: Seconds for the last words of a speaker who has left during the call; a busy machine needs several. If the call ends,
#: too, its own limit is shorter (`call.end`).
DRAIN_S = 10.0
#: Seconds to wait after a failed stream, doubled up to the second value, which applies at once if a retry cannot succeed.
RETRY_S = (0.5, 15.0)
#: Maximum seconds of speech that are buffered for the next stream.
PENDING_S = 120.0
#: Seconds of speech that are kept without a slot: pre-roll, and the time until a slot is granted.
WAITING_S = 2.5
#: Number of buffered frames that are sent without a break, so that other speakers do not wait.
_PENDING_AT_ONCE = 12
#: Samples of a frame, for counting dropped ones: 80 ms.
_USUAL_FRAME = SAMPLE_RATE * 80 // 1000


class Transcriber:
    """Runs until its frame queue ends. `language` may be set at any time; the next speech is transcribed in the new one.

    For `activity` and `on_quiet` see `GatedFrames`. `on_error` is called with each error of a stream.
    """

    def __init__(
        self,
        frames: FrameQueue,
        gate: SilenceGate,
        backend: SttBackend,
        captioner: Captioner,
        language: str,
        *,
        on_error: Callable[[SttError], None],
        slot: Slot | None = None,
        activity: SilenceGate | None = None,
        on_quiet: Callable[[bool], None] | None = None,
    ) -> None:
        self.language = language
        self._frames = frames
        self._gate = gate
        self._backend = backend
        self._streams = backend.for_speaker(Hints(spoken=lambda: captioner.spoken_language))
        self._captioner = captioner
        self._on_error = on_error
        self._slot = slot or FreeSlot()
        self._slot.on_slot = frames.interrupt
        self._audio = GatedFrames(frames, gate, self._slot, activity=activity, on_quiet=on_quiet)
        self._onset_noted = False
        # Codes of errors that were logged since a stream last ended well; each is logged once.
        self._logged: set[str] = set()
        # Speech for the next stream.
        self._pending = _pending_speech(PENDING_S)
        # Whether the open stream ends as soon as the queue is empty.
        self._finishing = False

    def close(self) -> None:
        """No more audio: the rest of the queue is transcribed, then `run` returns."""
        self._frames.close()

    def finish(self) -> None:
        """There is no more audio for now: the open stream, if there is one, ends after the frames in the queue."""
        if self._audio.streaming:
            self._finishing = True
            self._frames.interrupt()

    @property
    def quiet(self) -> bool:
        """Whether the speaker is silent, and no stream is open or about to be."""
        return not (self._audio.streaming or self._gate.speaking or self._pending)

    def expect_past(self, seconds: float) -> None:
        """The next frames may contain speech; the first `seconds` are from the past and come at once."""
        self._audio.expect_past(seconds)

    def forget(self) -> None:
        """Reset the gate's history: the next frame does not continue the last one."""
        self._gate.forget()

    async def run(self) -> None:
        """Return when the frame queue has ended and the last words were emitted."""
        try:
            with contextlib.suppress(FrameQueueClosed):
                await self._run()
            self._captioner.finalise()
        finally:
            self._frames.close()
            self._pending.clear()
            self._audio.count()

    async def _run(self) -> None:
        retry_s = RETRY_S[0]
        while True:
            # 1. Begin with speech that waited for this stream, or wait for speech.
            opening = self._take_pending() or await self._until_speech()
            # 2. Wait for a slot. Without one, speech that ends is not transcribed.
            if not self._slot.held:
                newest = await self._until_slot(opening)
                if newest is None:
                    continue
                opening = newest
            # 3. Transcribe until a long silence, a change of language or a failure.
            failures = await self._transcribe(opening)
            if not failures:
                retry_s = RETRY_S[0]
                self._logged.clear()
                continue
            # 4. Wait before the next attempt. Speech is buffered only if that attempt may succeed.
            retryable = all(failure.retryable for failure in failures)
            if not retryable:
                retry_s = RETRY_S[1]
            await self._pause(retry_s, buffer=retryable)
            retry_s = min(RETRY_S[1], retry_s * 2)

    # Without a stream.

    async def _until_speech(self) -> Sequence[TimedAction]:
        """Wait until the gate opens. Returns its actions from then on. Raises FrameQueueClosed."""
        if not self._gate.speaking:
            self._audio.note_quiet()
        while True:
            actions = await self._audio.next()
            for index, timed in enumerate(actions):
                if isinstance(timed.action, OpenStream):
                    return actions[index + 1 :]

    async def _until_slot(self, opening: Iterable[TimedAction]) -> Iterable[TimedAction] | None:
        """Wait for a slot. Returns the newest speech, or None if the speech ended before. Raises FrameQueueClosed."""
        clock = asyncio.get_running_loop().time
        newest = _pending_speech(WAITING_S)
        speech: tuple[float, float] | None = None
        try:
            actions = opening
            while True:
                if self._audio.speaking:
                    speech = (clock() if speech is None else speech[0], clock())
                for timed in actions:
                    dropped = newest.add([timed])
                    if self._audio.speaking:  # without a gate, silence comes here, too
                        metrics.untranscribed_seconds.inc(dropped / SAMPLE_RATE)
                if self._slot.held:
                    if speech is not None:
                        speech = (speech[0], clock() - newest.seconds)
                    self._buffer([*newest.take()])
                    return self._take_pending()
                if not self._gate.speaking:
                    self._audio.reset()
                    return None
                actions = await self._audio.next_for_stream()
        finally:
            if self._audio.speaking or not self._audio.has_own_activity:
                metrics.untranscribed_seconds.inc(newest.seconds)
            newest.clear()
            if speech is not None:
                self._captioner.not_transcribed(GapReason.NOT_ADMITTED, *speech)

    async def _pause(self, seconds: float, *, buffer: bool) -> None:
        """Let `seconds` pass. `buffer`: keep speech for the next stream. Raises FrameQueueClosed."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        lost: tuple[float, float] | None = None
        try:
            while (left_s := until - clock()) > 0:
                actions = await self._audio.next(left_s)
                if buffer:
                    self._buffer(actions)
                elif self._audio.speaking:
                    lost = (clock() if lost is None else lost[0], clock())
        except TimeoutError:
            pass
        finally:
            if lost is not None:
                self._captioner.not_transcribed(GapReason.NO_ENGINE, *lost)
        if not self._pending:
            self._audio.reset()

    def _buffer(self, actions: Sequence[TimedAction]) -> None:
        if dropped := self._pending.add(actions):
            metrics.frames_dropped.inc(dropped / _USUAL_FRAME)

    def _take_pending(self) -> Iterable[TimedAction] | None:
        if not self._pending:
            return None
        # The gate may have closed in the meantime. It must know of the stream that is opened now, to close it again.
        self._gate.keep_open()
        return self._pending.take()

    # With a stream.

    async def _transcribe(self, opening: Iterable[TimedAction]) -> list[SttError]:
        """Use one stream from its opening to its last event. Returns its errors, after reporting them.

        Raises FrameQueueClosed if the queue has ended and nothing is left to transcribe.
        """
        failures: list[SttError] = []
        language, queue_ended = self.language, False
        self._captioner.begin_stream(language)
        self._audio.streaming = True
        try:
            with metrics.stt_streams.labels(self._backend.name).track_inprogress():
                async with self._streams.open_stream(language) as stream, asyncio.TaskGroup() as tasks:
                    reader = tasks.create_task(self._read(stream), name="stt events")
                    queue_ended = await self._pump(stream, language, opening)
                    await stream.end()
                    queue_ended = await self._drain(reader, queue_ended)
                    # Commit the last words now, since closing the connection may take a while.
                    self._captioner.finalise(cut_short=reader.cancelled())
        except* SttError as group:
            failures = leaves_of(group)
        finally:
            self._audio.streaming = self._finishing = False
        if failures:
            end_if_cancelled()
            self._report(failures)
            self._captioner.stream_failed()
            self._audio.reset()
        elif queue_ended and not self._pending:
            raise FrameQueueClosed
        return failures

    async def _read(self, stream: SttStream) -> None:
        async for event in stream.events():
            self._captioner.feed(event)

    async def _pump(self, stream: SttStream, language: str, opening: Iterable[TimedAction]) -> bool:
        """Send speech until the stream should be closed. Returns whether the queue has ended."""
        self._note_onset()
        for number, timed in enumerate(opening, start=1):
            await self._act(stream, timed)
            if number % _PENDING_AT_ONCE == 0:
                await asyncio.sleep(0)
        while self.language == language and self._slot.held and not (self._finishing and self._frames.empty):
            try:
                actions = await self._audio.next_for_stream()
            except FrameQueueClosed:
                return True
            if self.language != language:
                self._buffer(actions)  # this speech came after the change
                break
            self._note_onset()
            for timed in actions:
                if await self._act(stream, timed):
                    return False
        self._audio.reset()
        return False

    async def _act(self, stream: SttStream, timed: TimedAction) -> bool:
        """Perform one action of the gate. Returns whether the stream should be closed."""
        match timed.action:
            case Speech(frames=frames, pre_roll=pre_roll):
                self._captioner.audio_sent(sum(map(len, frames)), timed.at)
                stream.mark_speech(self._audio.speaking if self._audio.has_own_activity else not pre_roll)
                for frame in frames:
                    await stream.send(frame)
            case Flush():
                await stream.flush()
                stream.mark_speech(False)
                self._captioner.end_of_speech(self._gate.limits.hangover_s)
            case CloseStream():
                if stream.caught_up:
                    return True
                self._gate.keep_open()
        return False

    async def _drain(self, reader: asyncio.Task[None], queue_ended: bool) -> bool:
        """Wait for the last words, and buffer speech meanwhile. Returns whether the queue has ended.

        While the speaker is there, this takes as long as the stream takes. If the speaker has left or the slot was taken away,
        it takes at most `DRAIN_S`.
        """
        loop = asyncio.get_running_loop()
        limit: asyncio.TimerHandle | None = None
        reader.add_done_callback(lambda _: self._frames.interrupt())
        try:
            while not queue_ended and not reader.done():
                if limit is None and not self._slot.held:  # it may be taken away at any time, which interrupts the queue
                    limit = loop.call_later(DRAIN_S, reader.cancel)
                try:
                    self._buffer(await self._audio.next_for_stream())
                except FrameQueueClosed:
                    queue_ended = True
            _, late = await asyncio.wait([reader], timeout=DRAIN_S)
        finally:
            if limit is not None:
                limit.cancel()
        if late:
            logger.warning("Speech-to-text did not finish within %.1f s; the utterance ends with the known words", DRAIN_S)
            reader.cancel()
            await asyncio.wait([reader])
        return queue_ended

    def _note_onset(self) -> None:
        """Tell the captioner when speech begins, for metrics."""
        speaking = self._gate.speaking
        if speaking and not self._onset_noted:
            self._captioner.start_of_speech(self._gate.limits.onset_s)
        self._onset_noted = speaking

    def _report(self, failures: Sequence[SttError]) -> None:
        for failure in failures:
            level = logging.DEBUG if failure.code in self._logged else logging.WARNING
            self._logged.add(failure.code)
            logger.log(level, "Speech-to-text failed: %s", failure, extra={"code": failure.code, "backend": self._backend.name})
            metrics.stt_errors.labels(self._backend.name, failure.code).inc()
            self._on_error(failure)


def _pending_speech(seconds: float) -> PendingSpeech:
    return PendingSpeech(seconds, codec=best_codec(), budget=PROCESS_BUDGET)
