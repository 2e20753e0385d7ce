# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One session with a moshi-server, sans-IO.

The server answers each 80 ms of audio with a `Step`, and each word comes 0.48 s of audio after it was spoken; so the steps tell
exactly what has been heard. Silence pushes the last words out.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Sequence

import numpy as np

from live_transcription.errors import SttAtCapacity, SttError, SttExpired, SttUnavailable
from live_transcription.stt.base import Flushed, Pause, SttEvent, Token
from live_transcription.stt.kyutai.chunker import FLUSH_STEPS, STEP_S, STEP_SAMPLES, Chunker
from live_transcription.stt.kyutai.handshake import SttStalled
from live_transcription.stt.kyutai.moshi.replies import (
    EndWord,
    Error,
    Ignored,
    Marker,
    Ready,
    Step,
    Word,
    audio_message,
    parse_message,
)
from live_transcription.stt.kyutai.stream_time import StreamTime
from live_transcription.types import SAMPLE_RATE, Frame

#: A flush that makes no progress for this long is given up, in seconds.
FLUSH_TIMEOUT_S = 1.5
#: No step for this long while there is audio to hear: the server is stuck.
STALL_S = 6.0
#: The server drops who sends nothing for 120 s.
IDLE_S = 110.0
#: Semantic voice activity: how likely a pause has to be, and how many first steps know nothing of it yet.
PAUSE_PROBABILITY = 0.6
PAUSE_BLIND_STEPS = 12
#: Steps by which words are behind the audio, so that a pause is told after the words before it.
DELAY_STEPS = 6

_SILENCE = audio_message(np.zeros(STEP_SAMPLES, np.float32))
_CAPACITY = re.compile(r"no free channel|capacity|full", re.IGNORECASE)
_PLAIN = re.compile(r"[^\w .,:;()'/-]+")


class MoshiSession:
    """A `Dialect` (see `stt.websocket_stream`). `opened_at`: now, at the handshake."""

    def __init__(self, opened_at: float, *, ignored: Counter[str] | None = None) -> None:
        self._ignored = Counter[str]() if ignored is None else ignored
        self._chunker = Chunker()
        self._time = StreamTime()
        self._sent_at = opened_at
        self._progress_at = opened_at
        self._steps_sent = 0
        self._steps = 0
        self._ready = False
        self._ending = False
        self._words_pending = False
        self._pause_step: int | None = None
        # Steps after which each flush under way is done.
        self._flushes: deque[int] = deque()
        self._unflushed = False

    @property
    def ready(self) -> bool:
        return self._ready

    @property
    def ended(self) -> bool:
        return self._ending and not self._flushes

    @property
    def heard_s(self) -> float | None:
        return self._time.to_stream(max(0, self._steps - DELAY_STEPS - 1) * STEP_S)

    def replaceable(self, now: float) -> bool:
        del now
        return False

    def send(self, frame: Frame, now: float) -> Sequence[bytes]:
        self._unflushed = True
        return self._messages([audio_message(chunk) for chunk in self._chunker.push(frame)], now)

    def flush(self, now: float) -> Sequence[bytes]:
        messages: list[bytes] = []
        if self._unflushed:
            self._unflushed = False
            chunks, silence = self._chunker.pad()
            messages = [audio_message(chunk) for chunk in chunks] + [_SILENCE] * FLUSH_STEPS
            silence_s = silence / SAMPLE_RATE + FLUSH_STEPS * STEP_S
            self._time.insert((self._steps_sent + len(messages)) * STEP_S - silence_s, silence_s)
        self._messages(messages, now)
        self._flushes.append(self._steps_sent)
        return messages

    def end(self, now: float) -> Sequence[bytes]:
        self._ending = True
        return self.flush(now) if self._unflushed else []

    def receive(self, message: str | bytes, now: float) -> Sequence[SttEvent]:
        match parse_message(message):
            case Ready():
                self._ready = True
            case Word(text=text, start_s=start_s) if text.strip():
                self._progress_at = now
                self._words_pending = True
                return [Token(text.strip(), True, None if start_s is None else self._time.to_stream(start_s))]
            case Step(pause=pause):
                return self._step(pause, now)
            case Error(message=said):
                raise _error(said)
            case Ignored(kind=kind):
                self._ignored[kind] += 1
            case Word() | EndWord() | Marker():
                pass
        return []

    def tick(self, now: float) -> Sequence[SttEvent]:
        if self._stall_deadline() is not None and now >= self._progress_at + STALL_S:
            raise SttStalled("The moshi-server takes audio but does not work on it.", fix="Look into the server's log.")
        if not self._flushes or now < self._progress_at + FLUSH_TIMEOUT_S:
            return []
        # What is under way is given up at once, or a dead server would hold up each flush in turn.
        given_up = len(self._flushes)
        self._flushes.clear()
        self._words_pending = False
        self._ignored["flush_timeout"] += given_up
        return [Flushed()] * given_up

    def next_deadline(self) -> float | None:
        return self._progress_at + FLUSH_TIMEOUT_S if self._flushes else self._stall_deadline()

    def _stall_deadline(self) -> float | None:
        return self._progress_at + STALL_S if self._steps < self._steps_sent else None

    def closed(self, code: int | None, now: float) -> SttError:
        del code
        if now - self._sent_at >= IDLE_S:
            return SttExpired("The moshi-server closed an idle session.")
        return SttUnavailable(
            "The connection to the moshi-server broke.", fix="If it happens often, look into the server's log."
        )

    def _messages(self, messages: list[bytes], now: float) -> Sequence[bytes]:
        if messages:
            if self._steps >= self._steps_sent:
                # There was nothing to work on until now.
                self._progress_at = now
            self._steps_sent += len(messages)
            self._sent_at = now
        return messages

    def _step(self, pause: float, now: float) -> Sequence[SttEvent]:
        self._ready = True
        self._steps += 1
        self._progress_at = now
        events: list[SttEvent] = []
        while self._flushes and self._steps >= self._flushes[0]:
            self._flushes.popleft()
            self._words_pending = False
            self._pause_step = None
            events.append(Flushed())
        if self._flushes:
            return events
        if self._pause_step is None:
            if pause > PAUSE_PROBABILITY and self._words_pending and self._steps > PAUSE_BLIND_STEPS:
                self._pause_step = self._steps
        elif self._steps >= self._pause_step + DELAY_STEPS:
            self._pause_step = None
            if self._words_pending:
                self._words_pending = False
                events.append(Pause())
        return events


def _error(said: str) -> SttError:
    plain = _PLAIN.sub(" ", said).strip()[:100]
    if _CAPACITY.search(plain):
        return SttAtCapacity(f"The moshi-server is full ({plain}).", fix="Give it a larger batch size, or run another.")
    return SttUnavailable(f"The moshi-server failed ({plain or 'no reason given'}).", fix="Look into the server's log.")
