# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One stream for its reader, as many connections below as it takes: no word lost, none told twice.

Audio goes into a ring and from there to the connection, which may still be opening (a cold start) or be broken. What has been
missed is sent at a multiple of real time once it is there. After a break in an utterance the reader is told `Restarted`, and
the utterance from its start; `stt.open_utterance` says what that means. The ring bounds what an outage may cost
(`stt.audio_ring`), and a budget what it may cost for all speakers.

While nothing waits, a frame goes from `send` to the wire in one call; the task that sends is only needed where something waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from random import Random

from live_transcription.audio_store.ring import AudioRing
from live_transcription.errors import SttError, SttExpired, SttProtocolError, SttUnavailable, main_error
from live_transcription.runtime.tasks import end_if_cancelled
from live_transcription.stt.base import Flushed, Hypothesis, Pause, Restarted, SttBackend, SttEvent, SttStream, Token
from live_transcription.stt.kyutai.chunker import STEP_SAMPLES
from live_transcription.stt.metrics import SttStatistics
from live_transcription.stt.resilient.connection import Connection
from live_transcription.stt.resilient.open_utterance import RECALL_S, OpenUtterance
from live_transcription.stt.resilient.policy import ResiliencePolicy
from live_transcription.stt.resilient.retry_log import RetryLog
from live_transcription.types import SAMPLE_RATE, Frame

logger = logging.getLogger(__name__)

#: Events that wait for their reader before the server is held back.
EVENT_QUEUE = 256
#: Audio that was heard and goes beyond what is ever heard again, in samples, before it is let go.
_TRIM = round((RECALL_S + 1.0) * SAMPLE_RATE)
#: A session that ends younger than this was not ended by its age, in seconds.
OF_AGE_S = 10.0


class ResilientStream(SttStream):
    """One speaker's stream; `run` belongs to its backend."""

    def __init__(
        self,
        backend: SttBackend,
        language: str,
        policy: ResiliencePolicy,
        statistics: SttStatistics,
        random: Random,
        ring: AudioRing,
        log: RetryLog,
    ) -> None:
        self._backend = backend
        self._language = language
        self._policy = policy
        self._statistics = statistics
        self._random = random
        self._ring = ring
        self._log = log
        self._utterance = OpenUtterance()
        # Positions of flushes that were asked for and not yet answered, oldest first, and when they were asked for.
        self._flushes: deque[tuple[int, float]] = deque()
        # All audio before it has been flushed.
        self._settled = 0
        # How far any connection has been sent, and how far the broken ones have told what they heard.
        self._furthest = 0
        self._heard = 0
        self._connection: Connection | None = None
        self._ended = False
        self._wake = asyncio.Event()
        # All there is has been sent, and nothing else is to be done before there is more.
        self._resting = False
        # How far what was dropped has been counted.
        self._missed = 0
        self._clock = asyncio.get_running_loop().time
        self._events: asyncio.Queue[SttEvent | None] = asyncio.Queue(EVENT_QUEUE)
        self._failure: SttError | None = None
        self._last_error: SttError | None = None
        self._drain_until: float | None = None
        self._limit: asyncio.Timeout | None = None

    @property
    def waiting_s(self) -> float:
        """Seconds of audio that wait for a connection, or for their turn on it."""
        sent = self._connection.sent if self._connection is not None else max(self._heard, self._utterance.closed)
        return max(0, self._ring.end - max(sent, self._ring.start)) / SAMPLE_RATE

    @property
    def caught_up(self) -> bool:
        return not self._flushes and self._ring.end <= self._settled

    async def send(self, frame: Frame) -> None:
        """Never waits: when the ring is full, its oldest audio is dropped and counted."""
        if not self.send_now(frame):
            self._raise_failure()

    def send_now(self, frame: Frame) -> bool:
        """False only after a failure for good."""
        if self._failure is not None:
            return False
        self._ring.append(frame)
        if self._ring.dropped > self._missed:
            self._count_missed()
        if not (self._resting and self._sent_now(frame)):
            self._rouse()
        return True

    def _sent_now(self, frame: Frame) -> bool:
        """The short way, for who has not fallen behind."""
        connection, now = self._connection, self._clock()
        if connection is None or len(frame) > STEP_SAMPLES or connection.wait_s(now):
            return False
        if not self._utterance.is_open and connection.stream.replaceable:
            return False
        if not connection.stream.send_now(frame):
            return False
        self._sending(connection, len(frame), now)
        return True

    def _sending(self, connection: Connection, samples: int, now: float) -> None:
        connection.sending(samples, now)
        self._ring.sent = connection.sent
        if len(self._ring) > _TRIM:
            heard = connection.heard
            heard = max(self._heard, self._utterance.last_word if heard is None else heard)
            self._ring.forget(heard - round(RECALL_S * SAMPLE_RATE))

    def _count_missed(self) -> None:
        """What was dropped since the last time and never sent."""
        known = max(self._missed, self._connection.sent if self._connection is not None else self._heard)
        self._statistics.dropped_s += max(0, self._ring.dropped - known) / SAMPLE_RATE
        self._missed = self._ring.dropped

    def _rouse(self) -> None:
        self._resting = False
        self._wake.set()

    async def flush(self) -> None:
        self._raise_failure()
        now = self._clock()
        if self._ring.end == self._settled:
            await self._events.put(Flushed())
        elif not self._flushes or self._flushes[-1][0] < self._ring.end:
            # Of the flushes whose audio is gone one is enough.
            while len(self._flushes) > 1 and self._flushes[1][0] <= self._ring.start and self._connection is None:
                self._flushes.popleft()
            self._flushes.append((self._ring.end, now))
            self._rouse()

    async def end(self) -> None:
        self._ended = True
        if self._drain_until is None:
            self._drain_until = self._clock() + self._policy.drain_s
            if self._limit is not None:
                self._limit.reschedule(self._drain_until)
        self._rouse()

    async def events(self) -> AsyncIterator[SttEvent]:
        while (event := await self._events.get()) is not None:
            yield event
        self._raise_failure()

    async def run(self) -> None:
        """Open connections as long as there is audio for them, until `end` and the last word, or a failure for good."""
        try:
            async with asyncio.timeout_at(self._drain_until) as self._limit:
                await self._supervise()
        except SttError as error:
            self._failure = error
        except TimeoutError:
            self._failure = self._last_error or SttUnavailable("Speech-to-text did not give the last words in time.")
        except Exception:
            # A fault of ours is raised where the stream is left; until then its reader must not wait for ever.
            self._failure = SttProtocolError(
                "Speech-to-text stopped by a fault of this app.", fix="Please report it with the log."
            )
            await self._events.put(None)
            raise
        finally:
            self._limit = None
        await self._events.put(None)

    async def _supervise(self) -> None:
        failures = 0
        while await self._has_work():
            error, worked = await self._connect()
            end_if_cancelled()
            if error is None:
                failures = 0
                continue
            failures = 0 if worked else failures + 1
            self._last_error = error
            self._statistics.failures[error.code] += 1
            delay_s = self._policy.retry.delay_s(error, failures, worked, self._random)
            if delay_s is None:
                raise error
            self._statistics.reconnects[error.code] += 1
            self._tell(error, delay_s)
            await asyncio.sleep(delay_s)

    def _tell(self, error: SttError, delay_s: float) -> None:
        more = None if isinstance(error, SttExpired) else self._log.failed(error.message, self._clock())
        logger.log(
            logging.DEBUG if more is None else logging.WARNING,
            "Speech-to-text: %s Trying again, now and then, until it works%s.",
            error,
            f" ({more} more failures since this was last said)" if more else "",
            extra={"code": error.code, "backend": self._backend.name, "delay_s": round(delay_s, 1)},
        )

    async def _has_work(self) -> bool:
        """Wait until there is audio to be heard; False once there is none and no more to come."""
        while self.caught_up:
            if self._ended:
                return False
            self._wake.clear()
            await self._wake.wait()
        return True

    async def _connect(self) -> tuple[SttError | None, bool]:
        """One connection from its opening to its end: why it failed, and whether it was of use before."""
        connection: Connection | None = None
        error: SttError | None = None
        try:
            async with self._backend.open_stream(self._language) as stream:
                replay = self._utterance.restart(self._ring.start, self._heard)
                self._statistics.replayed_s += max(0, self._furthest - replay.position) / SAMPLE_RATE
                connection = self._connection = Connection(
                    stream, replay.position, self._policy.replay_speed, self._clock(), unsaid=replay.tokens
                )
                await self._converse(connection)
        except SttError as failure:
            error = failure
        finally:
            self._connection = None
            self._resting = False
            self._ring.unsend()
        if connection is None:
            return error, False
        return error, await self._disconnected(connection, error)

    async def _disconnected(self, connection: Connection, error: SttError | None) -> bool:
        """Take stock of what the connection has told; whether that went beyond what the ones before it had."""
        self._furthest = max(self._furthest, connection.sent)
        heard = connection.heard
        heard = self._utterance.last_word if heard is None else max(heard, self._utterance.last_word)
        progress, self._heard = heard > self._heard, max(self._heard, heard)
        if error is None and connection.ending:
            self._flushes.clear()
            self._settled = self._ring.end
        if (error is None or isinstance(error, SttExpired)) and not self._flushes and self._settled == self._ring.end:
            # Nothing is on its way that could have been lost.
            self._close(self._settled)
        if self._utterance.taken_back():
            await self._events.put(Restarted())
        lasted_s = self._clock() - connection.opened_at
        return (connection.told and progress) or (isinstance(error, SttExpired) and lasted_s >= OF_AGE_S)

    async def _converse(self, connection: Connection) -> None:
        """Return when the connection has said all, or should make way for another; raises SttError."""
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(connection), name="stt events")
                await self._pump(connection)
                if not connection.ending:
                    self._statistics.reconnects["rotation"] += 1
                    reader.cancel()
                await asyncio.wait([reader])  # not left to the group, see `end_if_cancelled`
        except* SttError as failures:
            raise main_error(failures) from None

    async def _pump(self, connection: Connection) -> None:
        """Send what there is, in order; return at the end of the audio, or where another connection may take over."""
        ring, stream = self._ring, connection.stream
        clock = self._clock
        while True:
            if ring.dropped > self._missed:
                self._count_missed()
            connection.skip_to(ring.start)
            mark = self._flushes[connection.flushes][0] if connection.flushes < len(self._flushes) else None
            if mark is not None and connection.sent >= mark:
                connection.flushes += 1
                await stream.flush()
            elif connection.sent < ring.end:
                if (wait_s := connection.wait_s(clock())) > 0:
                    await asyncio.sleep(wait_s)
                    continue
                chunk = ring.read(connection.sent, min(STEP_SAMPLES, (ring.end if mark is None else mark) - connection.sent))
                self._sending(connection, len(chunk), clock())
                await stream.send(chunk)
            elif self._ended:
                connection.ending = True
                await stream.end()
                return
            elif stream.replaceable and not self._flushes and not self._utterance.is_open:
                return
            else:
                self._wake.clear()
                self._resting = True
                await self._wake.wait()

    async def _read(self, connection: Connection) -> None:
        async for event in connection.stream.events():
            match event:
                case Token():
                    await self._token(connection.token(event), connection)
                case Hypothesis():
                    await self._hypothesis(connection.hypothesis(event), event.end_s, connection)
                case Pause():
                    await self._repeat(connection)
                    self._close(connection.word_bound)
                    await self._events.put(event)
                case Flushed():
                    await self._flushed(connection)
                case Restarted():
                    self._utterance.taken_back()
                    await self._events.put(event)
        if not connection.ending:
            raise SttUnavailable("The speech-to-text stream ended by itself.")

    async def _token(self, token: Token, connection: Connection) -> None:
        await self._repeat(connection)
        self._utterance.token(token, connection.word_bound)
        self._works()
        await self._events.put(token)

    def _works(self) -> None:
        failures = self._log.worked()
        if failures is not None:
            logger.info("Speech-to-text works again; %d more failures on the way", failures)

    async def _hypothesis(self, hypothesis: Hypothesis, end_s: float | None, connection: Connection) -> None:
        self._works()
        if hypothesis.final:
            self._close(connection.sent if end_s is None else min(connection.sent, connection.position(end_s)))
        else:
            self._utterance.shown()
        await self._events.put(hypothesis)

    async def _flushed(self, connection: Connection) -> None:
        if not connection.flushes:
            return
        connection.flushes -= 1
        position, asked_at = self._flushes.popleft()
        self._settled = max(self._settled, position)
        self._statistics.flush_s.append(self._clock() - asked_at)
        await self._repeat(connection)
        heard = connection.has_heard(position)
        self._close(max(position, self._utterance.last_word) if heard else self._utterance.last_word_by(position))
        await self._events.put(Flushed())

    async def _repeat(self, connection: Connection) -> None:
        """Tell again what comes before the audio that is heard again."""
        while connection.unsaid:
            token = connection.unsaid.popleft()
            self._utterance.shown()
            await self._events.put(token)

    def _close(self, position: int) -> None:
        self._utterance.close(position)
        self._ring.forget(self._utterance.closed)
        self._rouse()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
