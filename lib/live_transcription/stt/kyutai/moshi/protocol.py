# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One session with a moshi-server, sans-I/O.

The server answers each 80 ms of audio with a `Step` message, and each word comes 0.48 s of audio after it was spoken. So the
steps tell exactly how much audio has been transcribed. After a flush, silence pushes the last words out.

Only models with pause heads (Kyutai's `stt-1b-en_fr`) make the server send steps. Others, such as the 2.6B model for English,
are refused: words without steps show it, and so does a marker that comes back without them (`probe`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from live_transcription.errors import SttAtCapacity, SttError, SttExpired, SttStalled, SttUnavailable, SttWrongModel
from live_transcription.observability import metrics
from live_transcription.stt.kyutai.moshi.replies import (
    Error,
    Marker,
    Ready,
    Step,
    Word,
    audio_message,
    marker_message,
    parse_message,
)
from live_transcription.stt.kyutai.parsing import IgnoredReply, is_capacity, loggable
from live_transcription.stt.kyutai.session import Messages, Session
from live_transcription.stt.kyutai.steps import SILENCE, STEP_S
from live_transcription.texts import Text
from live_transcription.transcript import Flushed, Pause, SttEvent, Token
from live_transcription.types import Frame

#: Seconds after the last step of a flush in which a word of the same step may follow. The server sends the step first.
LAST_WORD_S = 0.2
#: Seconds without a step, although there is audio to transcribe, after which the server counts as stalled.
STALL_S = 6.0
#: Seconds without audio after which a close means that the session was idle. The server closes idle sessions after 120 s.
IDLE_S = 110.0
#: Pause probability from which on a step counts as a pause.
PAUSE_PROBABILITY = 0.6
#: Number of steps at the start of a session whose pause probability is meaningless.
PAUSE_BLIND_STEPS = 12
#: Number of steps by which words lag behind the audio. A pause is emitted so many steps late, after the words before it.
DELAY_STEPS = 6
#: Number of steps sent after which a word without any step shows that there will be none. The server sends a step before its
#: words, and words lag behind the audio by more than this.
STEPLESS_STEPS = 12
#: Number of steps of silence that bring a marker back, also from a model whose words lag by 2.56 s (32 steps).
PROBE_STEPS = 34
_PROBE = Marker(1)


class MoshiSession(Session):
    """A flush under way is stored as the number of steps after which the server has transcribed it.

    `Flushed` is emitted with the next step, or `LAST_WORD_S` later, so that a word of the flush's last step comes before it.
    """

    def __init__(self, opened_at: float) -> None:
        super().__init__(opened_at)
        self.ready = False
        self._sent_at = opened_at
        self._progress_at = opened_at
        self._steps = 0
        self._probing = False
        self._pause_step: int | None = None
        # Flushes that were transcribed and not emitted yet, and the time of the last step of the latest one.
        self._flushed = 0
        self._flushed_at = 0.0

    @property
    def acknowledged_s(self) -> float | None:
        return self._audio.to_stream(max(0, self._steps - DELAY_STEPS - 1) * STEP_S)

    @property
    def ended(self) -> bool:
        return super().ended and not self._flushed

    @property
    def stepped(self) -> bool:
        """Whether the server has transcribed audio, and reported it."""
        return self._steps > 0

    def silence(self, now: float) -> Messages:
        """Send silence, which the server answers with steps."""
        return self._messages(self._audio.push(np.tile(SILENCE, PROBE_STEPS)), now)

    def probe(self, now: float) -> Messages:
        """Send a marker and silence. If the model is alive, `stepped` becomes true, or `receive` raises SttWrongModel."""
        self._probing = True
        return [marker_message(_PROBE), *self.silence(now)]

    def flush(self, now: float) -> Messages:
        messages = self._messages(self._audio.flush(), now)
        self._flushes.append(self._audio.sent)
        return messages

    def receive(self, message: str | bytes, now: float) -> Sequence[SttEvent]:
        match parse_message(message):
            case Ready():
                self.ready = True
            case Word() if not self.stepped and self._audio.sent >= STEPLESS_STEPS:
                raise _wrong_model()
            case Marker() as marker:
                if marker == _PROBE and self._probing and not self.stepped:
                    raise _wrong_model()
            case Word(text=text, start_s=start_s) if text.strip():
                self._progress_at = now
                self._words_pending = True
                return [Token(text.strip(), True, self._audio.to_stream(start_s))]
            case Step(pause=pause):
                return self._step(pause, now)
            case Error(message=reason):
                raise _error(reason)
            case IgnoredReply(kind=kind):
                metrics.stt_ignored_replies.labels(kind).inc()
        return []

    def tick(self, now: float) -> Sequence[SttEvent]:
        if self._steps < self._audio.sent and now >= self._progress_at + STALL_S:
            raise SttStalled("The moshi-server accepts audio but does not transcribe it.", fix="Check the server's log.")
        return self._take_flushed() if now >= self._flushed_at + LAST_WORD_S else []

    def next_deadline(self) -> float | None:
        if self._flushed:
            return self._flushed_at + LAST_WORD_S
        return self._progress_at + STALL_S if self._steps < self._audio.sent else None

    def closed(self, code: int | None, now: float) -> SttError:
        del code
        if now - self._sent_at >= IDLE_S:
            return SttExpired("The moshi-server closed an idle session.")
        return SttUnavailable("The connection to the moshi-server broke.", fix="If this happens often, check the server's log.")

    def _messages(self, steps: Sequence[Frame], now: float) -> Messages:
        if steps:
            if self._steps >= self._audio.sent - len(steps):
                # The server had nothing to do until now, so its silence was no lack of progress.
                self._progress_at = now
            self._sent_at = now
        return [audio_message(step) for step in steps]

    def _step(self, pause: float, now: float) -> Sequence[SttEvent]:
        """Note that the server has transcribed one more step."""
        self.ready = True
        self._steps += 1
        self._progress_at = now
        # The words of the step before this one have arrived.
        events: list[SttEvent] = [*self._take_flushed()]
        # A flush is transcribed when the server has processed all the silence that was sent for it.
        while self._flushes and self._steps >= self._flushes[0]:
            self._flushes.popleft()
            self._flushed += 1
            self._flushed_at = now
        # The silence of a flush looks like a pause, but `Flushed` already ends the utterance.
        if self._flushes or self._flushed:
            return events
        if self._pause_step is None:
            if pause > PAUSE_PROBABILITY and self._words_pending and self._steps > PAUSE_BLIND_STEPS:
                self._pause_step = self._steps
        elif self._steps >= self._pause_step + DELAY_STEPS:
            # The words that were spoken before the pause have arrived by now.
            self._pause_step = None
            if self._words_pending:
                self._words_pending = False
                events.append(Pause())
        return events

    def _take_flushed(self) -> Sequence[SttEvent]:
        if not self._flushed:
            return []
        events = [Flushed()] * self._flushed
        self._flushed = 0
        self._words_pending = False
        self._pause_step = None
        return events


def _wrong_model() -> SttError:
    return SttWrongModel(
        "The model of this moshi-server has no pause heads, so the server does not report how much audio it has transcribed.",
        fix="Run Kyutai's model stt-1b-en_fr.",
    )


def _error(message: str) -> SttError:
    reason = loggable(message)
    if is_capacity(reason):
        return SttAtCapacity(
            "The moshi-server is full ({reason}).", fix="Increase its batch size, or run another server.", reason=reason
        )
    return SttUnavailable(
        "The moshi-server failed ({reason}).", fix="Check the server's log.", reason=reason or Text("no reason given")
    )
