# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A speaker's frames after the silence gate. Notifies the slot of speech, and the speaker of silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from live_transcription.audio.frame_queue import FrameQueue
from live_transcription.observability import metrics
from live_transcription.speaker.pending_speech import TimedAction
from live_transcription.speaker.slot import Slot
from live_transcription.types import SAMPLE_RATE, Frame
from live_transcription.vad.gate import CloseStream, GateAction, SilenceGate

#: Seconds without frames after which speech counts as ended: muting stops RTP in mid-speech.
STALL_S = 0.7
#: Seconds without frames after which an open stream is closed. The gate's own limit counts audio, of which there is none.
IDLE_CLOSE_S = 20.0
#: Seconds of audio without speech after which an isolated suspicion of speech counts as wrong.
QUIET_S = 1.5
#: Number of frames between two updates of the gate's metrics, since updating a metric costs more than a frame.
_COUNTED_FRAMES = 25


class GatedFrames:
    """Reads one speaker's frame queue through the gate. For one reader.

    `activity` detects speech for the slot if `gate` does not. `on_quiet` is called while no stream is open, first at once and
    then after each `QUIET_S` of audio without speech: the following audio need not be decoded. Its argument says whether there
    was speech since the last call.
    """

    def __init__(
        self,
        frames: FrameQueue,
        gate: SilenceGate,
        slot: Slot,
        *,
        activity: SilenceGate | None = None,
        on_quiet: Callable[[bool], None] | None = None,
    ) -> None:
        self.gate = gate
        #: Set by the reader while a stream is open: its silence is not reported.
        self.streaming = False
        self._frames = frames
        self._slot = slot
        self._activity = activity
        self._on_quiet = on_quiet
        #: Whether there is speech now, also if the gate lets silence pass.
        self.speaking = False
        self._spoke_since_quiet = False
        self._quiet_samples = 0
        self._uncounted_frames = 0
        self._counted_s = {"passed": 0.0, "saved": 0.0}

    @property
    def has_own_activity(self) -> bool:
        """Whether speech is detected apart from the gate, which then lets silence pass."""
        return self._activity is not None

    async def next(self, timeout_s: float | None = None) -> Sequence[TimedAction]:
        """The gate's actions for the next frame; none if it has none, or if the queue was interrupted.

        Raises FrameQueueClosed, and TimeoutError if no frame comes for `timeout_s`.
        """
        frame = await self._frames.get(timeout_s)
        if frame is None:
            return ()
        # Frames that are still in the queue are newer than this one.
        return self._timed(self._push(frame), self._frames.buffered_s)

    async def next_for_stream(self) -> Sequence[TimedAction]:
        """As `next`, for an open stream: without frames, the speech ends and later the stream. Raises FrameQueueClosed."""
        try:
            return await self.next(STALL_S if self.gate.speaking else IDLE_CLOSE_S)
        except TimeoutError:
            if self.gate.speaking:
                actions = self.gate.stalled()
                self._follow_speech()
                return self._timed(actions)
            self.reset()
            return self._timed([CloseStream()])

    def reset(self) -> None:
        """The stream has ended. Continuing speech opens another one."""
        self.gate.reset()
        self._follow_speech()

    def note_quiet(self) -> None:
        """Report silence, if all frames were read."""
        self._quiet_samples = 0
        if self._on_quiet is not None and self._frames.empty:
            self._on_quiet(self._spoke_since_quiet)
            self._spoke_since_quiet = False

    def expect_past(self, seconds: float) -> None:
        """The next frames may contain speech; the first `seconds` are from the past and come at once."""
        self._quiet_samples = -round(seconds * SAMPLE_RATE)

    def count(self) -> None:
        """Update the gate's metrics."""
        self._uncounted_frames = 0
        # Audio that was saved may still be sent as pre-roll, but a counter never decreases.
        for outcome, seconds in (("passed", self.gate.passed_s), ("saved", self.gate.saved_s)):
            if (more_s := seconds - self._counted_s[outcome]) > 0:
                self._counted_s[outcome] = seconds
                metrics.stt_gate_seconds.labels(outcome).inc(more_s)

    def _push(self, frame: Frame) -> Sequence[GateAction]:
        self._uncounted_frames += 1
        if self._uncounted_frames >= _COUNTED_FRAMES:
            self.count()
        actions = self.gate.push(frame)
        if self._activity is not None:
            self._activity.push(frame)
        if (self._activity or self.gate).speaking is not self.speaking:
            self._follow_speech()
        if not self.streaming and not self.speaking:
            self._quiet_samples += len(frame)
            if self._quiet_samples >= QUIET_S * SAMPLE_RATE:
                self.note_quiet()
        return actions

    def _follow_speech(self) -> None:
        """Notify the slot if speech has begun or ended."""
        if self._activity is not None and not self.gate.speaking:
            self._activity.stalled()
        speaking = (self._activity or self.gate).speaking
        if speaking is self.speaking:
            return
        self.speaking = speaking
        if speaking:
            self._spoke_since_quiet = True
            self._slot.speaking()
        else:
            self._quiet_samples = 0
            self._slot.silent()

    @staticmethod
    def _timed(actions: Sequence[GateAction], ago_s: float = 0.0) -> Sequence[TimedAction]:
        at = asyncio.get_running_loop().time() - ago_s
        return [TimedAction(action, at) for action in actions]
