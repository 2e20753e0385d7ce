# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One session with Kyutai's proxy on Modal, sans-IO: 24 kHz mono float32 little-endian in, JSON out.

The proxy tells neither what it has heard nor when a flush is done, so quiet has to tell: silence is sent for the model's
delay, and once that has passed and no text has come for a moment, all has been said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from live_transcription.errors import SttAtCapacity, SttError, SttExpired, SttUnavailable
from live_transcription.stt.base import Flushed, Pause, SttEvent, Token
from live_transcription.stt.kyutai.chunker import FLUSH_STEPS, MODEL_DELAY_S, STEP_S, STEP_SAMPLES, Chunker
from live_transcription.stt.kyutai.handshake import SttStalled
from live_transcription.stt.kyutai.modal.close_reason import ClosedSession, CloseReason, close_error, close_reason
from live_transcription.stt.kyutai.modal.replies import (
    ErrorReply,
    Ignored,
    PauseReply,
    PingReply,
    Reply,
    TokenReply,
    parse_message,
)
from live_transcription.stt.kyutai.stream_time import StreamTime
from live_transcription.types import SAMPLE_RATE, Frame

#: Without text for this long after the model's delay, a flush is done.
QUIET_S = 0.3
#: A flush takes no longer than this, in seconds.
FLUSH_TIMEOUT_S = 1.5
#: Only speech is sent: without any text for so many seconds of it, and of time, the server is stuck.
STALL_AUDIO_S = 20.0
STALL_S = 6.0


def _octets(chunk: Frame) -> memoryview:
    """Of the samples where they are: they are copied when the message is masked (RFC 6455, section 5.3), and only then."""
    return chunk.astype("<f4", copy=False).data.cast("B")


_SILENCE = _octets(np.zeros(STEP_SAMPLES, np.float32))


class ModalSession:
    """A `Dialect` (see `stt.websocket_stream`). `opened_at`: now, at the handshake."""

    def __init__(self, opened_at: float, *, rotate_after_s: float = 25 * 60.0, ignored: Counter[str] | None = None) -> None:
        self._opened_at = opened_at
        self._rotate_after_s = rotate_after_s
        self._ignored = Counter[str]() if ignored is None else ignored
        self._chunker = Chunker()
        self._time = StreamTime()
        self._steps_sent = 0
        self._first_audio_at: float | None = None
        self._last_audio_at: float | None = None
        self._last_text_at = opened_at
        self._tokens = 0
        self._finals_mean_something = False
        self._last_token: tuple[str, float] | None = None
        self._words_pending = False
        # When the silence of each flush under way was sent; the last one's quiet tells for all before it.
        self._flushes: list[float] = []
        self._unflushed = False
        self._ending = False
        self._samples_since_text = 0
        self._stall_at: float | None = None

    @property
    def ready(self) -> bool:
        return True

    @property
    def ended(self) -> bool:
        return self._ending and not self._flushes

    @property
    def heard_s(self) -> float | None:
        return None

    def replaceable(self, now: float) -> bool:
        return now - self._opened_at >= self._rotate_after_s

    def send(self, frame: Frame, now: float) -> Sequence[memoryview]:
        self._unflushed = True
        self._samples_since_text += len(frame)
        if self._stall_at is None and self._samples_since_text >= STALL_AUDIO_S * SAMPLE_RATE:
            self._stall_at = max(now, self._last_text_at + STALL_S)
        return self._messages([_octets(chunk) for chunk in self._chunker.push(frame)], now)

    def flush(self, now: float) -> Sequence[memoryview]:
        self._flushes.append(now)
        if not self._unflushed:
            return []
        self._unflushed = False
        chunks, silence = self._chunker.pad()
        messages = [_octets(chunk) for chunk in chunks] + [_SILENCE] * FLUSH_STEPS
        end_s = (self._steps_sent + len(messages)) * STEP_S
        silence_s = silence / SAMPLE_RATE + FLUSH_STEPS * STEP_S
        self._time.insert(end_s - silence_s, silence_s)
        return self._messages(messages, now)

    def end(self, now: float) -> Sequence[memoryview]:
        self._ending = True
        return self.flush(now) if self._unflushed else []

    def receive(self, message: str | bytes, now: float) -> Sequence[SttEvent]:
        events: list[SttEvent] = []
        for reply in parse_message(message):
            events += self._event(reply, now)
        return events

    def tick(self, now: float) -> Sequence[SttEvent]:
        if self._stall_at is not None and now >= self._stall_at:
            raise SttStalled("Kyutai on Modal takes audio but sends no text.", fix="Look into the app's log on Modal.")
        done = 0
        while done < len(self._flushes) and now >= self._flush_deadline(self._flushes[done]):
            done += 1
        del self._flushes[:done]
        return [Flushed()] * done

    def next_deadline(self) -> float | None:
        deadlines = [self._flush_deadline(sent_at) for sent_at in self._flushes[:1]]
        if self._stall_at is not None:
            deadlines.append(self._stall_at)
        return min(deadlines, default=None)

    def _flush_deadline(self, sent_at: float) -> float:
        return min(max(sent_at + MODEL_DELAY_S, self._last_text_at + QUIET_S), sent_at + FLUSH_TIMEOUT_S)

    def closed(self, code: int | None, now: float) -> SttError:
        return close_error(self.close_reason(code, now))

    def close_reason(self, code: int | None, now: float) -> CloseReason:
        """Why the server closed the session now, with this code."""
        first, last = self._first_audio_at, self._last_audio_at
        return close_reason(
            ClosedSession(
                code=code,
                closed_by_us=False,
                age_s=now - self._opened_at,
                since_first_audio_s=None if first is None else now - first,
                since_last_audio_s=None if last is None else now - last,
                tokens=self._tokens,
            )
        )

    def _messages(self, messages: list[memoryview], now: float) -> Sequence[memoryview]:
        if messages:
            self._steps_sent += len(messages)
            self._first_audio_at = now if self._first_audio_at is None else self._first_audio_at
            self._last_audio_at = now
        return messages

    def _event(self, reply: Reply, now: float) -> Sequence[SttEvent]:
        match reply:
            case TokenReply():
                return self._token(reply, now)
            case PauseReply():
                return self._pause()
            case ErrorReply(kind="capacity", message=message):
                raise SttAtCapacity(
                    f"Kyutai on Modal is full ({message}).", fix="Allow more containers, or more sessions in one."
                )
            case ErrorReply(kind="expired", message=message):
                raise SttExpired(f"The session on Modal ended ({message}).")
            case ErrorReply(message=message):
                raise SttUnavailable(
                    f"Kyutai on Modal failed ({message or 'no reason given'}).", fix="Look into the app's log on Modal."
                )
            case PingReply():
                return []
            case Ignored(kind=kind):
                self._ignored[kind] += 1
                return []

    def _token(self, reply: TokenReply, now: float) -> Sequence[SttEvent]:
        if reply.start_s is not None:
            if (reply.text, reply.start_s) == self._last_token:
                self._ignored["duplicate"] += 1
                return []
            self._last_token = (reply.text, reply.start_s)
        self._tokens += 1
        self._last_text_at = now
        self._samples_since_text = 0
        self._stall_at = None
        self._words_pending = True
        start_s = None if reply.start_s is None else self._time.to_stream(reply.start_s)
        end_s = None if reply.end_s is None else self._time.to_stream(reply.end_s)
        token = Token(reply.text, None, start_s, end_s)
        # Some servers call every text final; only one that has also sent others means the end of an utterance by it.
        self._finals_mean_something |= reply.final is False
        return [token, *(self._pause() if reply.final and self._finals_mean_something else ())]

    def _pause(self) -> Sequence[SttEvent]:
        if not self._words_pending:
            return []
        self._words_pending = False
        return [Pause()]
