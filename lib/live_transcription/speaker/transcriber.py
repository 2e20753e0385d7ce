# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Transcribes one speaker: frames go through the silence gate into a stream of the backend, events go to the captioner.

A stream lives from the first word to a long silence. When it fails, only this speaker waits: the open utterance is closed with
the words it has, and the next speech opens another stream after a backoff.

A stream needs a slot (`speaker.slot`), which is requested when speech begins. Without a slot, only the newest `WAITING_S` of
speech are kept, in case a slot becomes free. When the slot is taken away, the stream ends like any other: its last words are
delivered.

A change of language ends the stream, which may still have many words to deliver (a cold start). Speech in the meantime is
buffered for the next stream. So is speech between a failure that may pass and the next attempt.

While nothing changes, a frame is processed entirely within the queue's `put`, without waiting for a task. The task runs only
when something changes (`_take`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from live_transcription.audio.frame_queue import EndOfStream, FrameQueue
from live_transcription.audio_store.budget import PROCESS_BUDGET
from live_transcription.audio_store.opus_blocks import best_codec
from live_transcription.errors import SttError, leaves_of
from live_transcription.observability import metrics
from live_transcription.runtime.tasks import end_if_cancelled
from live_transcription.speaker.captioner import Captioner
from live_transcription.speaker.pending_speech import HeldSpeech
from live_transcription.speaker.slot import FreeSlot, Slot
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.types import SAMPLE_RATE, Frame
from live_transcription.vad.gate import CloseStream, Flush, GateAction, OpenStream, SilenceGate, Speech

logger = logging.getLogger(__name__)

#: Without frames for this long in mid-speech (a mute that stops RTP) the speech counts as ended.
STALL_S = 0.7
#: An open stream without frames is closed after this long; the gate's own limit counts audio, of which there is none.
IDLE_CLOSE_S = 20.0
#: Seconds for the last words of a speaker who has left while the call goes on; a busy machine needs several. If the call ends,
#: too, its own limit is shorter (`call.end`).
DRAIN_S = 10.0
#: Wait after a failed stream, doubled up to the second value, in seconds; the second at once where trying again mends nothing.
RETRY_S = (0.5, 15.0)
#: Speech held for the next stream, in seconds; the oldest goes.
HELD_S = 120.0
#: Seconds of speech kept without a slot: pre-roll, and the time until a slot is granted.
WAITING_S = 2.5
#: Seconds of audio without speech after which an isolated suspicion of speech counts as wrong.
QUIET_S = 1.5
#: Held frames that are packed for a stream without a break, so that other speakers are not kept waiting.
_HELD_AT_ONCE = 12
#: Samples in a dropped frame, for counting: 80 ms.
_USUAL_FRAME = SAMPLE_RATE * 80 // 1000
#: Frames between two updates of the gate's metrics, since a metric costs more than a frame.
_COUNTED_FRAMES = 25


class Transcriber:
    """Runs until its queue ends. `language` may be set at any time; the next speech is transcribed in the new one.

    `activity` detects speech for the slot if `gate` does not. `on_quiet` is called while no stream is open, first at once and
    then after each `QUIET_S` of audio without speech: the following audio need not be decoded. Its argument says whether there
    was speech since the last call.
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
        self._captioner = captioner
        self._on_error = on_error
        self._slot = slot or FreeSlot()
        self._slot.on_slot = frames.interrupt
        self._activity = activity
        self._speaking = False
        self._on_quiet = on_quiet
        self._streaming = False
        self._quiet_samples = 0
        self._spoke_since_quiet = False
        self._closing = asyncio.Event()
        self._spoken = False
        self._counted_s = {"passed": 0.0, "saved": 0.0}
        self._uncounted = 0
        # Codes of failures that were logged since a stream last ended well; one line of each will do.
        self._reported: set[str] = set()
        # The gate's actions that are still to be done, in order.
        self._todo: list[GateAction] = []
        # Speech that no stream could take yet: for the next one.
        self._held = HeldSpeech(HELD_S, codec=best_codec(), budget=PROCESS_BUDGET)

    def close(self) -> None:
        """No more audio: the rest of the queue is still transcribed, then `run` returns."""
        self._closing.set()
        self._frames.close()

    @property
    def quiet(self) -> bool:
        """The speaker is silent, and no stream is open or about to be."""
        return not (self._streaming or self._gate.speaking or len(self._held))

    def attend(self, seconds: float) -> None:
        """Audio follows that may hold speech; its first `seconds` are from the past and arrive at once."""
        self._quiet_samples = -round(seconds * SAMPLE_RATE)

    def forget(self) -> None:
        """Reset the gate's history: the next frame does not continue the last one."""
        self._gate.forget()

    async def run(self) -> None:
        """Return when the frame queue has ended and the last words are out."""
        try:
            with contextlib.suppress(EndOfStream):
                await self._run()
            self._captioner.finalise()
        finally:
            self._frames.close()
            self._held.clear()
            self._count_gate()

    async def _run(self) -> None:
        retry_s = RETRY_S[0]
        while True:
            opening = self._take_held() or await self._until_speech()
            if not self._slot.held:
                kept = await self._until_slot(opening)
                if kept is None:
                    continue
                opening = kept
            if not (failures := await self._transcribe_safely(opening)):
                retry_s = RETRY_S[0]
                self._reported.clear()
                continue
            passing = all(failure.retryable for failure in failures)
            if not passing:
                retry_s = RETRY_S[1]
            await self._listen_on(retry_s, keep=passing)
            retry_s = min(RETRY_S[1], retry_s * 2)

    async def _transcribe_safely(self, opening: Iterable[GateAction]) -> list[SttError]:
        """Transcribe; returns the errors of a failed stream, after closing its open utterance and reporting them."""
        failed: list[SttError] = []
        try:
            await self._transcribe(self.language, opening)
        except* SttError as failures:
            end_if_cancelled()
            failed = leaves_of(failures)
            self._report(failed)
            self._captioner.finalise()
            self._reset_gate()
        return failed

    async def _listen_on(self, seconds: float, *, keep: bool) -> None:
        """Wait for `seconds` without a stream. `keep`: buffer speech for the next one. Raises EndOfStream."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while (left_s := until - clock()) > 0:
            try:
                actions = await self._actions(left_s)
            except TimeoutError:
                break
            if keep:
                self._hold_back(actions)
        if not len(self._held):
            self._reset_gate()

    async def _until_speech(self) -> Sequence[GateAction]:
        """Frames pass until the gate opens; its actions from then on. Raises EndOfStream."""
        if not self._gate.speaking:
            self._quiet()
        while True:
            actions = await self._actions()
            for index, action in enumerate(actions):
                if isinstance(action, OpenStream):
                    return actions[index + 1 :]

    async def _until_slot(self, opening: Iterable[GateAction]) -> Iterable[GateAction] | None:
        """Wait for a slot and return the newest speech; None if the speech ended before. Raises EndOfStream."""
        kept = HeldSpeech(WAITING_S, codec=best_codec(), budget=PROCESS_BUDGET)
        try:
            actions: Iterable[GateAction] = opening
            while True:
                for action in actions:
                    dropped = kept.add([action])
                    if self._speaking:  # without a gate silence comes here, too
                        metrics.untranscribed_seconds.inc(dropped / SAMPLE_RATE)
                if self._slot.held:
                    self._hold_back([*kept.take()])
                    return self._take_held()
                if not self._gate.speaking:
                    self._reset_gate()
                    return None
                actions = await self._next_actions()
        finally:
            if self._activity is None or self._speaking:
                metrics.untranscribed_seconds.inc(kept.seconds)
            kept.clear()

    async def _transcribe(self, language: str, opening: Iterable[GateAction]) -> None:
        """One stream from its opening to its last event."""
        self._captioner.language = language
        self._streaming = True
        try:
            await self._transcribe_on_stream(language, opening)
        finally:
            self._streaming = False

    async def _transcribe_on_stream(self, language: str, opening: Iterable[GateAction]) -> None:
        with metrics.stt_streams.labels(self._backend.name).track_inprogress():
            async with self._backend.open_stream(language) as stream, asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(stream), name="stt events")
                ended = await self._pump(stream, language, opening)
                await stream.end()
                with self._limit(reader):
                    if not ended:
                        ended = await self._hold(reader)
                    await self._drain(reader, tasks)
                # Now: to close a connection may take a while.
                self._captioner.finalise()
        if ended and not self._held:
            raise EndOfStream

    @contextlib.contextmanager
    def _limit(self, reader: asyncio.Task[None]) -> Iterator[None]:
        """Limit the last words to `DRAIN_S` if the slot was taken away, although the speaker is still there."""
        timer = None if self._slot.held else asyncio.get_running_loop().call_later(DRAIN_S, reader.cancel)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()

    async def _drain(self, reader: asyncio.Task[None], tasks: asyncio.TaskGroup) -> None:
        """Wait for the last words: while the speaker is there as long as the stream takes, else not longer than `DRAIN_S`."""
        closing = tasks.create_task(self._closing.wait(), name="closing")
        await asyncio.wait([reader, closing], return_when=asyncio.FIRST_COMPLETED)
        _, late = await asyncio.wait([reader], timeout=DRAIN_S)
        if late:
            logger.warning("Speech-to-text did not finish within %.1f s; the utterance closes with the known words", DRAIN_S)
            reader.cancel()
        closing.cancel()

    async def _hold(self, reader: asyncio.Task[None]) -> bool:
        """Buffer speech until the last words are out. Returns True if the queue has ended."""
        while not reader.done():
            listening = asyncio.create_task(self._next_actions(), name="listen ahead")
            try:
                await asyncio.wait([reader, listening], return_when=asyncio.FIRST_COMPLETED)
            finally:
                listening.cancel()
                await asyncio.wait([listening])
            if listening.cancelled():
                continue
            try:
                actions = listening.result()
            except EndOfStream:
                return True
            self._hold_back(actions)
        return False

    def _hold_back(self, actions: Sequence[GateAction]) -> None:
        dropped = self._held.add(actions)
        if dropped:
            metrics.frames_dropped.inc(dropped / _USUAL_FRAME)

    def _take_held(self) -> Iterable[GateAction] | None:
        if not len(self._held):
            return None
        # The gate may have closed in the meantime; the stream that is opened now has to be closed again.
        self._gate.keep_open()
        return self._held.take()

    async def _read(self, stream: SttStream) -> None:
        async for event in stream.events():
            self._captioner.feed(event)

    async def _pump(self, stream: SttStream, language: str, opening: Iterable[GateAction]) -> bool:
        """Feed the stream until it should be closed; True if the queue has ended."""
        self._follow_speech()
        for number, action in enumerate(opening, start=1):
            await self._act(stream, action)
            if number % _HELD_AT_ONCE == 0:
                await asyncio.sleep(0)
        while True:
            if self.language != language or not self._slot.held:
                self._reset_gate()
                return False
            try:
                actions = await self._next_actions(stream, language)
            except EndOfStream:
                return True
            self._follow_speech()
            for action in actions:
                if await self._act(stream, action):
                    return False

    async def _act(self, stream: SttStream, action: GateAction) -> bool:
        """Do one action of the gate. Returns whether the stream is to be closed."""
        match action:
            case Speech(frames=frames):
                for frame in frames:
                    await stream.send(frame)
            case Flush():
                await stream.flush()
                self._captioner.end_of_speech(self._gate.limits.hangover_s)
            case CloseStream():
                if stream.caught_up:
                    return True
                self._gate.keep_open()
        return False

    def _follow_speech(self) -> None:
        speaking = self._gate.speaking
        if speaking and not self._spoken:
            self._captioner.start_of_speech(self._gate.limits.onset_s)
        self._spoken = speaking

    async def _next_actions(self, stream: SttStream | None = None, language: str | None = None) -> Sequence[GateAction]:
        """Like `_actions`, with an open stream, which gets frames directly if it can take them at once."""
        try:
            return await self._actions(STALL_S if self._gate.speaking else IDLE_CLOSE_S, stream, language)
        except TimeoutError:
            if self._gate.speaking:
                actions = self._gate.stalled()
                self._note_speech()
                return actions
            self._reset_gate()
            return [CloseStream()]

    async def _actions(
        self, timeout_s: float | None = None, stream: SttStream | None = None, language: str | None = None
    ) -> Sequence[GateAction]:
        """The gate's next actions. Raises EndOfStream, and TimeoutError after `timeout_s` without a frame."""
        if not self._todo:
            await self._frames.listen(lambda frame: self._take(frame, stream, language), timeout_s)
        todo, self._todo = self._todo, []
        return todo

    def _take(self, frame: Frame, stream: SttStream | None, language: str | None) -> bool:
        """Whether that was all: nothing is to be done, or has been."""
        actions = self._push(frame)
        if language is not None and self.language != language:
            self._todo += actions
            return False
        if stream is not None and self._spoken and len(actions) == 1 and _sent_now(stream, actions[0]):
            return True
        self._todo += actions
        return not actions

    def _push(self, frame: Frame) -> Sequence[GateAction]:
        self._uncounted += 1
        if self._uncounted >= _COUNTED_FRAMES:
            self._count_gate()
        actions = self._gate.push(frame)
        if self._activity is not None:
            self._activity.push(frame)
        if (self._activity or self._gate).speaking is not self._speaking:
            self._note_speech()
        if not self._streaming and not self._speaking:
            self._quiet_samples += len(frame)
            if self._quiet_samples >= QUIET_S * SAMPLE_RATE:
                self._quiet()
        return actions

    def _note_speech(self) -> None:
        """Notify the slot when speech begins or ends."""
        if self._activity is not None and not self._gate.speaking:
            self._activity.stalled()
        speaking = (self._activity or self._gate).speaking
        if speaking is self._speaking:
            return
        self._speaking = speaking
        if speaking:
            self._spoke_since_quiet = True
            self._slot.speaking()
        else:
            self._quiet_samples = 0
            self._slot.silent()

    def _reset_gate(self) -> None:
        self._gate.reset()
        self._note_speech()

    def _quiet(self) -> None:
        self._quiet_samples = 0
        if self._on_quiet is not None and self._frames.empty:
            self._on_quiet(self._spoke_since_quiet)
            self._spoke_since_quiet = False

    def _count_gate(self) -> None:
        self._uncounted = 0
        # Saved audio may still be passed as pre-roll, but a counter never decreases.
        for outcome, seconds in (("passed", self._gate.passed_s), ("saved", self._gate.saved_s)):
            if (more_s := seconds - self._counted_s[outcome]) > 0:
                self._counted_s[outcome] = seconds
                metrics.stt_gate_seconds.labels(outcome).inc(more_s)

    def _report(self, failures: Sequence[SttError]) -> None:
        for failure in failures:
            level = logging.DEBUG if failure.code in self._reported else logging.WARNING
            self._reported.add(failure.code)
            logger.log(level, "Speech-to-text failed: %s", failure, extra={"code": failure.code, "backend": self._backend.name})
            metrics.stt_errors.labels(self._backend.name, failure.code).inc()
            self._on_error(failure)


def _sent_now(stream: SttStream, action: GateAction) -> bool:
    """Frames after the first would have to follow on it."""
    return isinstance(action, Speech) and len(action.frames) == 1 and stream.send_now(action.frames[0])
