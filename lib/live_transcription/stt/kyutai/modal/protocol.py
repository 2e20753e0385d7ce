# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One session with a proxy of Kyutai's model on Modal, sans-I/O: 24 kHz mono float32 little-endian in, JSON out.

The proxy of `deploy/` begins with `ready`, and reports how much audio its words cover. It understands `{"type":"end"}`, appends
the silence that pushes the last words out, and answers `done` after the last of them, however long its model takes.

Other proxies report neither how much audio they have transcribed nor when a flush is done, so both are inferred from time, and
no text may be sent to them. A flush sends silence for the model's delay. When that delay has passed and no text has come for a
moment, all words of a model that keeps up have arrived. At the end of the session, words that come later would be lost, so it
stays open while they arrive.

Audio that waited for a cold start is sent faster than the model may work. Until all of it must have been transcribed, if the
model is at least as fast as speech, the session is behind. It then reports no pause, and infers no answer to a flush from time,
since a connection that breaks would otherwise lose the words of the audio before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from live_transcription.errors import SttAtCapacity, SttError, SttExpired, SttStalled, SttStarting, SttUnavailable
from live_transcription.observability import metrics
from live_transcription.stt.kyutai.modal.replies import (
    DoneReply,
    ErrorReply,
    PauseReply,
    PingReply,
    ProgressReply,
    ReadyReply,
    Reply,
    TokenReply,
    parse_message,
)
from live_transcription.stt.kyutai.parsing import IgnoredReply
from live_transcription.stt.kyutai.session import Messages, Session
from live_transcription.stt.kyutai.steps import FLUSH_STEPS, MODEL_DELAY_S, STEP_S
from live_transcription.texts import Text
from live_transcription.transcript import Flushed, Pause, SttEvent, Token
from live_transcription.types import SAMPLE_RATE, Frame

#: Seconds without text, after the model's delay, that complete a flush.
QUIET_S = 0.3
#: Maximum duration of a flush in seconds, and, at the end of the session, seconds without text that complete it.
FLUSH_TIMEOUT_S = 1.5
#: The latter for a server that has not sent anything in this session.
SILENT_S = 6.0
#: Seconds of audio that may wait at the server before the session is behind.
BEHIND_S = 1.0
#: Seconds without audio and text that show that a server which was behind has caught up.
CAUGHT_UP_S = 3.0
#: Seconds that the network may take for the last audio and its words, both ways.
NETWORK_S = 0.5
#: Maximum duration in seconds of the flush at the end of the session.
END_LIMIT_S = 120.0
#: Seconds without any message after `end` that show that the proxy hangs: it sends a ping after 10 s. Its model may be slow, so
#: `done` may take longer, up to the second number.
DONE_S = (12.0, 180.0)
#: Only speech is sent. After so many seconds of it, and at least `STALL_S` seconds, without text or progress, the server has
#: stalled.
STALL_AUDIO_S = 20.0
STALL_S = 6.0
#: Seconds without audio after which a close means that the session was idle. The proxy's limit is 30 s.
IDLE_S = 25.0
#: Age in seconds from which on a close means that the session reached the function's timeout of 30 minutes.
EXPIRY_S = 29 * 60.0
#: Seconds after the first audio within which a full model server makes the proxy close.
CAPACITY_S = 3.0


#: The message that requests `done`.
_END = '{"type":"end"}'


@dataclass(slots=True)
class _End:
    """An `end` that was sent at `sent_at`. Its `done` completes `flushes` flushes."""

    sent_at: float
    flushes: int = 1


class ModalSession(Session):
    """`ready`: the proxy has announced that it understands `end`.

    A flush under way that time completes is stored as the time at which its silence was sent, one that `done` completes is
    stored in `_ends`.

    The session is replaceable `rotate_after_s` seconds after the handshake.
    """

    def __init__(self, opened_at: float, *, rotate_after_s: float = 25 * 60.0) -> None:
        super().__init__(opened_at)
        self.ready = False
        self._ends: deque[_End] = deque()
        # The time of the latest message; None if there was none.
        self._message_at: float | None = None
        self._rotate_after_s = rotate_after_s
        self._first_audio_at: float | None = None
        self._last_audio_at = opened_at
        self._last_text_at = opened_at
        self._tokens = 0
        self._sends_partial_tokens = False
        self._last_token: tuple[str, float] | None = None
        self._samples_since_text = 0
        self._stall_at: float | None = None
        # When a model exactly as fast as speech would have transcribed all audio; and whether the session is behind.
        self._transcribed_at = opened_at
        self._behind = False
        # Server seconds whose words have all been sent, if the proxy reports them.
        self._audio_s: float | None = None

    @property
    def acknowledged_s(self) -> float | None:
        return self._audio.to_stream(self._audio_s)

    @property
    def ended(self) -> bool:
        return super().ended and not self._ends

    def behind_s(self, now: float) -> float:
        return max(0.0, self._transcribed_at - now) if self._is_behind(now) else 0.0

    def replaceable(self, now: float) -> bool:
        # Words that a slow model sends after a flush would be lost with the session.
        quiet = self.ready or now - self._last_text_at >= FLUSH_TIMEOUT_S
        return quiet and now - self._opened_at >= self._rotate_after_s

    def send(self, frame: Frame, now: float) -> Messages:
        self._samples_since_text += len(frame)
        if self._stall_at is None and self._samples_since_text >= STALL_AUDIO_S * SAMPLE_RATE:
            self._stall_at = max(now, self._last_text_at + STALL_S)
        return super().send(frame, now)

    def flush(self, now: float) -> Messages:
        steps = self._audio.flush()
        if steps and not self._is_behind(now):
            # A server that keeps up has time for this silence in the pause.
            self._transcribed_at -= FLUSH_STEPS * STEP_S
        if self.ready and steps:
            # The proxy appends the silence itself.
            self._ends.append(_End(now))
            return [*self._messages(steps[:-FLUSH_STEPS], now), _END]
        if self._ends:
            self._ends[-1].flushes += 1
            return []
        self._flushes.append(now)
        return self._messages(steps, now)

    def end(self, now: float) -> Messages:
        messages = super().end(now)
        if not self.ready and self._tokens and not self._flushes and now < self._last_text_at + FLUSH_TIMEOUT_S:
            self._flushes.append(now)  # words still arrive after the last flush
        return messages

    def receive(self, message: str | bytes, now: float) -> Sequence[SttEvent]:
        self._message_at = now
        return [event for reply in parse_message(message) for event in self._events(reply, now)]

    def tick(self, now: float) -> Sequence[SttEvent]:
        if self._stall_at is not None and now >= self._stall_at:
            raise SttStalled("Kyutai on Modal accepts audio but sends no text.", fix="Check the app's log on Modal.")
        if self._ends and now >= self._done_deadline():
            raise SttStalled("Kyutai on Modal did not finish transcribing the audio.", fix="Check the app's log on Modal.")
        events: list[SttEvent] = []
        while self._flushes and now >= self._flush_deadline(self._flushes[0]):
            self._flushes.popleft()
            events.append(Flushed())
            # If quiet shows that the server has caught up, this holds for all flushes.
            self._transcribed_at = min(self._transcribed_at, now)
        return events

    def next_deadline(self) -> float | None:
        flush_at = self._flush_deadline(self._flushes[0]) if self._flushes else None
        done_at = self._done_deadline() if self._ends else None
        return min((at for at in (flush_at, done_at, self._stall_at) if at is not None), default=None)

    def closed(self, code: int | None, now: float) -> SttError:
        """Infer the reason from the history of the session: the proxy closes all with code 1000 and an empty reason."""
        if now - self._last_audio_at >= IDLE_S:
            return SttExpired("Kyutai on Modal closed an idle session.")
        # A proxy that does use close codes sends 1013, "try again later".
        just_began = self._first_audio_at is not None and now - self._first_audio_at < CAPACITY_S
        if code == 1013 or (code == 1000 and just_began and not self._tokens):
            return SttAtCapacity(
                "Kyutai on Modal accepted the session and closed it at the first audio: its model server is full.",
                fix="Allow more containers, or more sessions per container.",
            )
        if now - self._opened_at >= EXPIRY_S:
            return SttExpired("The session on Modal reached its age limit.")
        return SttUnavailable(
            "The connection to Kyutai on Modal broke.", fix="If this happens often, check the app's log on Modal."
        )

    def _done_deadline(self) -> float:
        sent_at = self._ends[0].sent_at
        hangs_s, limit_s = DONE_S
        return min(max(sent_at, self._message_at or sent_at) + hangs_s, sent_at + limit_s)

    def _flush_deadline(self, sent_at: float) -> float:
        if self._ending:
            quiet_s = SILENT_S if self._message_at is None else FLUSH_TIMEOUT_S
            quiet_at = max(sent_at, self._last_text_at) + quiet_s
            transcribed_at = self._transcribed_at + MODEL_DELAY_S + QUIET_S + NETWORK_S
            return min(max(quiet_at, transcribed_at), sent_at + END_LIMIT_S)
        quiet_at = max(sent_at + MODEL_DELAY_S, self._last_text_at + QUIET_S)
        if self._is_behind(sent_at):
            return max(quiet_at, self._caught_up_at)
        return min(quiet_at, sent_at + FLUSH_TIMEOUT_S)

    def _is_behind(self, now: float) -> bool:
        return self._behind and self._audio_s is None and now < self._caught_up_at

    @property
    def _caught_up_at(self) -> float:
        at = self._transcribed_at + MODEL_DELAY_S
        return min(at, max(self._last_audio_at, self._last_text_at) + CAUGHT_UP_S) if self._tokens else at

    def _messages(self, steps: Sequence[Frame], now: float) -> Messages:
        if steps:
            self._first_audio_at = now if self._first_audio_at is None else self._first_audio_at
            self._behind = self._is_behind(now)
            self._transcribed_at = max(self._transcribed_at, now) + len(steps) * STEP_S
            self._behind |= self._transcribed_at - now > BEHIND_S
            self._last_audio_at = now
        # Views of the samples in place. They are copied only when the message is masked (RFC 6455, section 5.3).
        return [step.astype("<f4", copy=False).data.cast("B") for step in steps]

    def _events(self, reply: Reply, now: float) -> Sequence[SttEvent]:
        match reply:
            case TokenReply():
                return self._token(reply, now)
            case PauseReply():
                return self._pause(now)
            case ErrorReply(kind="capacity", message=reason):
                raise SttAtCapacity(
                    "Kyutai on Modal is full ({reason}).",
                    fix="Allow more containers, or more sessions per container.",
                    reason=reason,
                )
            case ErrorReply(kind="expired", message=reason):
                raise SttExpired("The session on Modal ended ({reason}).", reason=reason)
            case ErrorReply(kind="starting", message=reason):
                raise SttStarting(
                    "Kyutai on Modal is starting or restarting its model ({reason}).",
                    fix="If this continues, check the app's log on Modal.",
                    reason=reason,
                )
            case ErrorReply(message=reason):
                raise SttUnavailable(
                    "Kyutai on Modal failed ({reason}).",
                    fix="Check the app's log on Modal.",
                    reason=reason or Text("no reason given"),
                )
            case ReadyReply():
                self.ready = True
                return []
            case ProgressReply(audio_s=audio_s):
                audio_s = min(audio_s, self._audio.sent * STEP_S)
                if audio_s > (self._audio_s or 0.0):
                    # It works; whether it should have found words is judged by `stt.fallback`.
                    self._samples_since_text = 0
                    self._stall_at = None
                self._audio_s = max(self._audio_s or 0.0, audio_s)
                return []
            case DoneReply():
                return self._done()
            case PingReply():
                return []
            case IgnoredReply(kind=kind):
                metrics.stt_ignored_replies.labels(kind).inc()
                return []

    def _done(self) -> Sequence[SttEvent]:
        if not self._ends:
            return []
        end = self._ends.popleft()
        self._words_pending = False
        return [Flushed()] * end.flushes

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
        return [token, *(self._pause(now) if reply.final and self._sends_partial_tokens else ())]

    def _pause(self, now: float) -> Sequence[SttEvent]:
        if not self._words_pending or self._is_behind(now):
            return []
        self._words_pending = False
        return [Pause()]
