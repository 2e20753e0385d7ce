# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One session with Kyutai's proxy on Modal, sans-I/O: 24 kHz mono float32 little-endian in, JSON out.

The proxy reports neither how much audio it has transcribed nor when a flush is done, so both are inferred from time. A flush
sends silence for the model's delay. When that delay has passed and no text has come for a moment, all words have arrived.
"""

from __future__ import annotations

from collections.abc import Sequence

from live_transcription.errors import SttAtCapacity, SttError, SttExpired, SttStalled, SttUnavailable
from live_transcription.observability import metrics
from live_transcription.stt.kyutai.modal.replies import ErrorReply, PauseReply, PingReply, Reply, TokenReply, parse_message
from live_transcription.stt.kyutai.parsing import IgnoredReply
from live_transcription.stt.kyutai.session import Messages, Session
from live_transcription.stt.kyutai.steps import MODEL_DELAY_S
from live_transcription.texts import Text
from live_transcription.transcript import Flushed, Pause, SttEvent, Token
from live_transcription.types import SAMPLE_RATE, Frame

#: Seconds without text, after the model's delay, that complete a flush.
QUIET_S = 0.3
#: Maximum duration of a flush in seconds.
FLUSH_TIMEOUT_S = 1.5
#: Only speech is sent. After so many seconds of it, and at least `STALL_S` seconds, without any text, the server has stalled.
STALL_AUDIO_S = 20.0
STALL_S = 6.0
#: Seconds without audio after which a close means that the session was idle. The proxy's limit is 30 s.
IDLE_S = 25.0
#: Age in seconds from which on a close means that the session reached the function's timeout of 30 minutes.
EXPIRY_S = 29 * 60.0
#: Seconds after the first audio within which a full model server makes the proxy close.
CAPACITY_S = 3.0


class ModalSession(Session):
    """A flush under way is stored as the time at which its silence was sent.

    The session is replaceable `rotate_after_s` seconds after the handshake.
    """

    def __init__(self, opened_at: float, *, rotate_after_s: float = 25 * 60.0) -> None:
        super().__init__(opened_at)
        self._rotate_after_s = rotate_after_s
        self._first_audio_at: float | None = None
        self._last_audio_at = opened_at
        self._last_text_at = opened_at
        self._tokens = 0
        self._sends_partial_tokens = False
        self._last_token: tuple[str, float] | None = None
        self._samples_since_text = 0
        self._stall_at: float | None = None

    def replaceable(self, now: float) -> bool:
        return now - self._opened_at >= self._rotate_after_s

    def send(self, frame: Frame, now: float) -> Messages:
        self._samples_since_text += len(frame)
        if self._stall_at is None and self._samples_since_text >= STALL_AUDIO_S * SAMPLE_RATE:
            self._stall_at = max(now, self._last_text_at + STALL_S)
        return super().send(frame, now)

    def flush(self, now: float) -> Messages:
        self._flushes.append(now)
        return self._messages(self._audio.flush(), now)

    def receive(self, message: str | bytes, now: float) -> Sequence[SttEvent]:
        return [event for reply in parse_message(message) for event in self._events(reply, now)]

    def tick(self, now: float) -> Sequence[SttEvent]:
        if self._stall_at is not None and now >= self._stall_at:
            raise SttStalled("Kyutai on Modal accepts audio but sends no text.", fix="Check the app's log on Modal.")
        events: list[SttEvent] = []
        while self._flushes and now >= self._flush_deadline(self._flushes[0]):
            self._flushes.popleft()
            events.append(Flushed())
        return events

    def next_deadline(self) -> float | None:
        flush_at = self._flush_deadline(self._flushes[0]) if self._flushes else None
        return min((at for at in (flush_at, self._stall_at) if at is not None), default=None)

    def closed(self, code: int | None, now: float) -> SttError:
        """Infer the reason from the history of the session: the proxy closes all with code 1000 and an empty reason."""
        if now - self._last_audio_at >= IDLE_S:
            return SttExpired("Kyutai on Modal closed an idle session.")
        # A proxy that does use close codes sends 1013, "try again later".
        just_began = self._first_audio_at is not None and now - self._first_audio_at < CAPACITY_S
        if code == 1013 or (code == 1000 and just_began and not self._tokens):
            return SttAtCapacity(
                "Kyutai on Modal accepted the session and closed it at the first audio: its model server is full.",
                fix="Allow more containers, or more sessions in one.",
            )
        if now - self._opened_at >= EXPIRY_S:
            return SttExpired("The session on Modal reached its age limit.")
        return SttUnavailable(
            "The connection to Kyutai on Modal broke.", fix="If this happens often, check the app's log on Modal."
        )

    def _flush_deadline(self, sent_at: float) -> float:
        return min(max(sent_at + MODEL_DELAY_S, self._last_text_at + QUIET_S), sent_at + FLUSH_TIMEOUT_S)

    def _messages(self, steps: Sequence[Frame], now: float) -> Messages:
        if steps:
            self._first_audio_at = now if self._first_audio_at is None else self._first_audio_at
            self._last_audio_at = now
        # Views of the samples in place. They are copied only when the message is masked (RFC 6455, section 5.3).
        return [step.astype("<f4", copy=False).data.cast("B") for step in steps]

    def _events(self, reply: Reply, now: float) -> Sequence[SttEvent]:
        match reply:
            case TokenReply():
                return self._token(reply, now)
            case PauseReply():
                return self._pause()
            case ErrorReply(kind="capacity", message=reason):
                raise SttAtCapacity(
                    "Kyutai on Modal is full ({reason}).",
                    fix="Allow more containers, or more sessions in one.",
                    reason=reason,
                )
            case ErrorReply(kind="expired", message=reason):
                raise SttExpired("The session on Modal ended ({reason}).", reason=reason)
            case ErrorReply(message=reason):
                raise SttUnavailable(
                    "Kyutai on Modal failed ({reason}).",
                    fix="Check the app's log on Modal.",
                    reason=reason or Text("no reason given"),
                )
            case PingReply():
                return []
            case IgnoredReply(kind=kind):
                metrics.stt_ignored_replies.labels(kind).inc()
                return []

    def _token(self, reply: TokenReply, now: float) -> Sequence[SttEvent]:
        # A proxy may repeat a token; a speaker cannot say two words at the same time.
        if reply.start_s is not None:
            if (reply.text, reply.start_s) == self._last_token:
                metrics.stt_ignored_replies.labels("duplicate").inc()
                return []
            self._last_token = (reply.text, reply.start_s)
        self._tokens += 1
        self._last_text_at = now
        self._samples_since_text = 0
        self._stall_at = None
        self._words_pending = True
        token = Token(reply.text, None, self._audio.to_stream(reply.start_s), self._audio.to_stream(reply.end_s))
        # Some servers mark every token as final. Only if others are not does `final` mean the end of an utterance.
        self._sends_partial_tokens |= reply.final is False
        return [token, *(self._pause() if reply.final and self._sends_partial_tokens else ())]

    def _pause(self) -> Sequence[SttEvent]:
        if not self._words_pending:
            return []
        self._words_pending = False
        return [Pause()]
