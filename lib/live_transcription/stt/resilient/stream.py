# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One stream for its reader, over as many connections as it takes: no word is lost, and none is emitted twice.

Audio goes into a ring, and from there to the current connection, which may still be opening (a cold start) or broken. Once it
is up, buffered audio is sent faster than real time. After a break within an utterance the reader gets `Restarted`, and then the
utterance from its start (see `stt.resilient.open_utterance`). The ring bounds the memory that an outage takes per speaker, a
budget that of all speakers (see `audio_store`).

Audio in which the voice detector found speech, but the server no word, stays in the ring, too. If the stream below turns out to
be deaf (`SttDeaf`), all of it is transcribed again.

Two tasks work on a connection: `_pump` sends what is in the ring, `_read` handles what comes back. `run` opens connections, one
at a time, while there is audio for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from random import Random

from live_transcription.audio_store.ring import AudioRing
from live_transcription.errors import SttDeaf, SttError, SttExpired, SttProtocolError, SttUnavailable, main_error
from live_transcription.observability import metrics
from live_transcription.runtime.tasks import end_if_cancelled
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.kyutai.steps import STEP_SAMPLES
from live_transcription.stt.resilient.connection import Connection
from live_transcription.stt.resilient.open_utterance import RECALL_S, OpenUtterance
from live_transcription.stt.resilient.retry import ResiliencePolicy, RetryLog, retry_delay_s
from live_transcription.stt.resilient.speech_marks import SpeechMarks
from live_transcription.transcript import Flushed, Hypothesis, Pause, Restarted, SttEvent, Token
from live_transcription.types import SAMPLE_RATE, Frame

logger = logging.getLogger(__name__)

#: Number of events that wait for their reader before the server is slowed down.
EVENT_QUEUE = 256
#: Length of the ring in samples from which on acknowledged audio that will not be replayed is removed.
_TRIM = round((RECALL_S + 1.0) * SAMPLE_RATE)
#: Seconds of audio that are stored although they were transcribed, since they contain speech but the server sent no word.
WORDLESS_S = 20.0
#: Seconds of marked speech after the last word of an utterance that should have had words. Less may be silence after a cough.
_SPEECH_S = 1.2
#: Seconds after which the end of a session counts as its age limit. A session that expires sooner did not work.
OF_AGE_S = 10.0


class ResilientStream(SttStream):
    """One speaker's stream. Its backend runs `run` as long as the stream is open."""

    def __init__(
        self,
        backend: SttBackend,
        language: str,
        policy: ResiliencePolicy,
        random: Random,
        ring: AudioRing,
        log: RetryLog,
    ) -> None:
        self._backend = backend
        self._language = language
        self._policy = policy
        self._random = random
        self._ring = ring
        self._log = log
        self._clock = asyncio.get_running_loop().time
        self._events: asyncio.Queue[SttEvent | None] = asyncio.Queue(EVENT_QUEUE)
        self._wake = asyncio.Event()
        self._connection: Connection | None = None
        self._utterance = OpenUtterance()
        # Position and time of each flush that was requested and not answered yet, oldest first.
        self._flushes: deque[tuple[int, float]] = deque()
        self._speech = SpeechMarks()
        # Flushes like those above that were answered without a word, although there was speech.
        self._wordless: deque[tuple[int, float]] = deque()
        # Positions: all audio before `_settled` was flushed; `_furthest` is the end of what any connection was sent;
        # `_acknowledged` is the end of what broken connections acknowledged, `_reached` a position behind their last word;
        # drops before `_counted_drops` were counted.
        self._settled = self._furthest = self._acknowledged = self._reached = self._counted_drops = 0
        self._ended = False
        self._drain_until: float | None = None
        self._limit: asyncio.Timeout | None = None
        self._failure: SttError | None = None
        self._last_error: SttError | None = None

    @property
    def waiting_s(self) -> float:
        """Seconds of audio that were not sent yet."""
        sent = self._connection.sent if self._connection is not None else max(self._acknowledged, self._utterance.closed)
        return max(0, self._ring.end - max(sent, self._ring.start)) / SAMPLE_RATE

    @property
    def caught_up(self) -> bool:
        return not self._flushes and self._ring.end <= self._settled

    # For the speaker. Only `events` waits for the network; a full ring drops its oldest audio.

    def mark_speech(self, active: bool) -> None:
        self._speech.forget(self._ring.start)
        self._speech.mark(self._ring.end, active)

    async def send(self, frame: Frame) -> None:
        self._raise_failure()
        self._ring.append(frame)
        self._count_drops()
        self._wake.set()

    async def flush(self) -> None:
        self._raise_failure()
        if self._ring.end == self._settled:
            await self._events.put(Flushed())
        elif not self._flushes or self._flushes[-1][0] < self._ring.end:
            # Of the flushes whose audio was dropped during an outage, one is enough. This bounds their number.
            while len(self._flushes) > 1 and self._flushes[1][0] <= self._ring.start and self._connection is None:
                self._flushes.popleft()
            self._flushes.append((self._ring.end, self._clock()))
            self._wake.set()

    async def end(self) -> None:
        self._ended = True
        if self._drain_until is None:
            self._drain_until = self._clock() + self._policy.drain_s
            if self._limit is not None:
                self._limit.reschedule(self._drain_until)
        self._wake.set()

    async def events(self) -> AsyncIterator[SttEvent]:
        while (event := await self._events.get()) is not None:
            yield event
        self._raise_failure()

    # The owner of the connections.

    async def run(self) -> None:
        """Open connections while there is audio for them, until the last word after `end`, or a permanent failure."""
        try:
            async with asyncio.timeout_at(self._drain_until) as self._limit:
                await self._supervise()
        except SttError as error:
            self._failure = error
        except TimeoutError:
            self._failure = self._last_error or SttUnavailable("Speech-to-text did not deliver the last words in time.")
        except Exception:
            # A bug. It is raised when the stream is left; until then its reader must not wait forever.
            self._failure = SttProtocolError(
                "Speech-to-text stopped because of an error in this app.", fix="Please report it with the log."
            )
            await self._events.put(None)
            raise
        finally:
            self._limit = None
        await self._events.put(None)

    async def _supervise(self) -> None:
        failures = 0
        while True:
            # 1. Wait for audio that needs a connection. Without audio no connection is opened, since a serverless GPU bills it.
            while self.caught_up:
                if self._ended:
                    return
                self._wake.clear()
                await self._wake.wait()
            # 2. Use one connection until it fails, all audio is transcribed, or another connection should replace it.
            error, worked = await self._use_connection()
            end_if_cancelled()
            if error is None:
                failures = 0
                continue
            # 3. Wait before the next attempt. A connection that worked resets the backoff.
            failures = 0 if worked else failures + 1
            self._last_error = error
            metrics.stt_failures.labels(error.code).inc()
            delay_s = retry_delay_s(error, failures, worked, self._random)
            if delay_s is None:
                raise error
            metrics.stt_reconnects.labels(error.code).inc()
            self._log_failure(error, delay_s)
            await asyncio.sleep(delay_s)

    async def _use_connection(self) -> tuple[SttError | None, bool]:
        """Use one connection from its opening to its end. Returns why it failed, if it did, and whether it worked before."""
        connection: Connection | None = None
        error: SttError | None = None
        try:
            async with self._backend.open_stream(self._language) as stream:
                # Begin where the last connection left words open. Tokens whose audio is gone are repeated from memory.
                replay = self._utterance.restart(self._ring.start, self._acknowledged)
                metrics.stt_replayed_audio_seconds.inc(max(0, self._furthest - replay.position) / SAMPLE_RATE)
                connection = self._connection = Connection(
                    stream, replay.position, self._policy.replay_speed, self._clock(), carried=replay.tokens
                )
                error = await self._converse(connection)
        except SttError as failure:
            error = failure
        finally:
            self._connection = None
            self._ring.unsend()
        if connection is None:
            return error, False

        # Note how far this connection came, and whether that is further than the ones before it.
        self._furthest = max(self._furthest, connection.sent)
        # What a deaf server acknowledges does not count. All audio without words is flushed again.
        deaf = isinstance(error, SttDeaf)
        if deaf:
            self._flushes.extendleft(reversed(self._wordless))
            self._wordless.clear()
        reached = max(0 if deaf else connection.acknowledged or 0, self._utterance.last_word)
        progress, self._reached = reached > self._reached, max(self._reached, reached)
        self._acknowledged = max(self._acknowledged, min(reached, connection.transcribed))
        if error is None and connection.ending:
            self._flushes.clear()
            self._settled = self._ring.end
        # If all audio was flushed, nothing that was on its way can have been lost, so there is nothing to repeat.
        if (error is None or isinstance(error, SttExpired)) and self.caught_up:
            self._close(self._settled)
        if self._utterance.retract():
            await self._events.put(Restarted())
        of_age = isinstance(error, SttExpired) and self._clock() - connection.opened_at >= OF_AGE_S
        return error, (connection.emitted and progress) or of_age

    async def _converse(self, connection: Connection) -> SttError | None:
        """Send and read until all audio is transcribed or another connection should take over. Returns the failure, if any."""
        error: SttError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(connection), name="stt events")
                await self._pump(connection)
                if not connection.ending:
                    metrics.stt_reconnects.labels("rotation").inc()
                    reader.cancel()
                await asyncio.wait([reader])  # not left to the group, see `end_if_cancelled`
        except* SttError as failures:
            error = main_error(failures)
        return error

    # One connection: sending.

    async def _pump(self, connection: Connection) -> None:
        """Send audio and flushes in order. Return at the end of the audio, or when another connection should take over."""
        ring, stream = self._ring, connection.stream
        while True:
            # The ring and the budget may have dropped audio that was not sent yet.
            self._count_drops()
            connection.skip_to(ring.start)
            flush_at = self._flushes[connection.flushes][0] if connection.flushes < len(self._flushes) else None
            if flush_at is not None and connection.sent >= flush_at:
                connection.flushes += 1
                self._mark_speech(connection, False)
                await stream.flush()
            elif connection.sent < ring.end:
                # A replay is faster than real time, but not so fast that the server queues it.
                if (wait_s := connection.wait_s(self._clock())) > 0:
                    await asyncio.sleep(wait_s)
                    continue
                stop = ring.end if flush_at is None else flush_at
                chunk = ring.read(connection.sent, min(STEP_SAMPLES, stop - connection.sent))
                connection.note_sent(len(chunk), self._clock())
                ring.sent = connection.sent
                self._mark_speech(connection, self._speech.at(connection.sent - len(chunk)))
                self._trim(connection)
                await stream.send(chunk)
            elif self._ended:
                connection.ending = True
                await stream.end()
                return
            elif not self._flushes and not self._utterance.is_open and stream.replaceable:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    @staticmethod
    def _mark_speech(connection: Connection, active: bool) -> None:
        if active is not connection.speech:
            connection.speech = active
            connection.stream.mark_speech(active)

    def _trim(self, connection: Connection) -> None:
        """Remove audio of a long utterance that would not be replayed after a break."""
        if len(self._ring) > _TRIM:
            acknowledged = connection.acknowledged
            if acknowledged is None:
                acknowledged = min(self._utterance.last_word, connection.transcribed)
            acknowledged = max(self._acknowledged, acknowledged)
            recall_s = RECALL_S if self._utterance.is_open else WORDLESS_S
            self._ring.forget(acknowledged - round(recall_s * SAMPLE_RATE))
            self._speech.forget(self._ring.start)

    def _count_drops(self) -> None:
        """Count the audio that the full ring dropped before any connection was sent it."""
        if self._ring.dropped > self._counted_drops:
            sent = self._connection.sent if self._connection is not None else self._acknowledged
            unsent = self._ring.dropped - max(self._counted_drops, sent)
            metrics.stt_dropped_audio_seconds.inc(max(0, unsent) / SAMPLE_RATE)
            self._counted_drops = self._ring.dropped

    # One connection: receiving.

    async def _read(self, connection: Connection) -> None:
        # An event is put into the queue before its audio is closed. If the queue is full and the connection breaks or is
        # replaced meanwhile, its audio is transcribed again.
        async for event in connection.stream.events():
            bound = connection.word_bound  # `_pump` sends more audio while the queue is full
            match event:
                case Token():
                    token = connection.token(event)
                    await self._repeat_carried(connection)
                    self._utterance.add(token, bound)
                    self._log_recovery()
                    await self._events.put(token)
                case Hypothesis():
                    hypothesis = connection.hypothesis(event)
                    self._log_recovery()
                    sent = connection.sent
                    self._utterance.show()
                    await self._events.put(hypothesis)
                    if event.final:
                        self._close(sent if event.end_s is None else min(sent, connection.position(event.end_s)))
                case Pause() if bound < self._reached:
                    pass  # words after it are shown already, and will be repeated
                case Pause():
                    await self._repeat_carried(connection)
                    await self._events.put(event)
                    self._close(bound)
                case Flushed():
                    await self._flushed(connection)
                case Restarted():
                    await self._events.put(event)
                    self._utterance.retract()
        if not connection.ending:
            raise SttUnavailable("The speech-to-text server ended the stream.")

    async def _flushed(self, connection: Connection) -> None:
        """Settle the oldest flush, and close as much of its audio as is certain to be transcribed.

        If another connection has emitted words of the audio after it, these will be repeated. It is then settled together with
        the next flush.
        """
        if connection.answered >= connection.flushes:
            return
        connection.answered += 1
        position, _ = self._flushes[connection.answered - 1]
        if position < self._reached and not connection.has_acknowledged(position):
            return
        await self._repeat_carried(connection)
        await self._events.put(Flushed())
        settled = [self._flushes.popleft() for _ in range(connection.answered)]
        connection.flushes -= len(settled)
        connection.answered = 0
        self._settled = max(self._settled, position)
        for _, requested_at in settled:
            metrics.stt_flush_seconds.observe(self._clock() - requested_at)
        last_word = self._utterance.last_word
        if not connection.hypotheses and self._speech.samples(last_word, position) >= _SPEECH_S * SAMPLE_RATE:
            # Speech without a word may have been missed by a deaf server.
            self._wordless.extend(settled)
            self._close(max(last_word, position - round(WORDLESS_S * SAMPLE_RATE)))
        else:
            certain = connection.has_acknowledged(position)
            self._close(max(position, last_word) if certain else self._utterance.last_word_by(position))
        for _ in settled[1:]:
            await self._events.put(Flushed())

    async def _repeat_carried(self, connection: Connection) -> None:
        """Emit tokens whose audio is not replayed, before the first words of the replayed audio."""
        while connection.carried:
            token = connection.carried.popleft()
            self._utterance.show()
            await self._events.put(token)

    def _close(self, position: int) -> None:
        self._utterance.close(position)
        while self._wordless and self._wordless[0][0] <= self._utterance.closed:
            self._wordless.popleft()
        self._ring.forget(self._utterance.closed)
        self._speech.forget(self._ring.start)
        self._wake.set()  # a replaceable connection may now be replaced

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _log_failure(self, error: SttError, delay_s: float) -> None:
        more = None if isinstance(error, SttExpired) else self._log.failed(error.message, self._clock())
        logger.log(
            logging.DEBUG if more is None else logging.WARNING,
            "Speech-to-text: %s The app keeps trying%s.",
            error,
            f" ({more} more failures since the last message)" if more else "",
            extra={"code": error.code, "backend": self._backend.name, "delay_s": round(delay_s, 1)},
        )

    def _log_recovery(self) -> None:
        failures = self._log.worked()
        if failures is not None:
            logger.info("Speech-to-text works again (%d more failures since the last message)", failures)
