# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A stream over one websocket: the asyncio shell around a sans-I/O `Session`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from live_transcription.errors import SttError, SttStalled, SttUnavailable
from live_transcription.observability import metrics
from live_transcription.stt.base import SttStream
from live_transcription.stt.kyutai.session import Messages, Session
from live_transcription.transcript import SttEvent, Token, WordSpacing
from live_transcription.types import Frame

#: Seconds for the server's first message after the handshake, where the protocol has one, and for its answer to a probe.
_ANSWER_S = 10.0
#: Seconds for which a server may block a message before it counts as stalled.
_SEND_S = 6.0


class WebsocketStream(SttStream):
    """One connection. Only `events()` reads it, so replies do not accumulate here: TCP slows the server down."""

    def __init__(self, connection: ClientConnection, session: Session) -> None:
        self._connection = connection
        self._session = session
        self._clock = asyncio.get_running_loop().time
        self._receiving: asyncio.Timeout | None = None
        self._first_audio_at: float | None = None
        self._first_token_counted = False
        self._spacing = WordSpacing()

    @property
    def acknowledged_s(self) -> float | None:
        return self._session.acknowledged_s

    @property
    def behind_s(self) -> float:
        return self._session.behind_s(self._clock())

    @property
    def replaceable(self) -> bool:
        return self._session.replaceable(self._clock())

    async def receive_until(self, condition: Callable[[], bool]) -> None:
        """Receive messages, and ignore their events, until a condition of the session holds. Raises SttError."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                while not condition():
                    self._session.receive(await self._connection.recv(), self._clock())
        except TimeoutError:
            raise SttUnavailable(
                "The speech-to-text server accepts connections but sends nothing.", fix="Restart it."
            ) from None
        except ConnectionClosed as error:
            raise self._closed(error) from None

    async def send(self, frame: Frame) -> None:
        now = self._clock()
        if self._first_audio_at is None:
            self._first_audio_at = now
        if not np.isfinite(frame).all():
            # NaN would stay in the model's memory, and spoil the session's slot for the sessions after it.
            metrics.stt_silenced_frames.inc()
            frame = np.zeros_like(frame)
        await self.transmit(self._session.send(frame, now))

    async def flush(self) -> None:
        await self.transmit(self._session.flush(self._clock()))

    async def end(self) -> None:
        await self.transmit(self._session.end(self._clock()))
        # `events` waits for the next message, which may never come: let it look at `ended` now.
        if self._session.ended and self._receiving is not None and not self._receiving.expired():
            self._receiving.reschedule(self._clock())

    async def events(self) -> AsyncIterator[SttEvent]:
        while not self._session.ended:
            message: str | bytes | None = None
            try:
                async with asyncio.timeout_at(self._session.next_deadline()) as self._receiving:
                    message = await self._connection.recv()
            except TimeoutError:
                pass
            except ConnectionClosed as error:
                raise self._closed(error) from None
            except UnicodeDecodeError:
                continue
            finally:
                self._receiving = None
            now = self._clock()
            # A deadline that has passed comes before the message that arrived after it.
            events = [*self._session.tick(now), *(self._session.receive(message, now) if message is not None else ())]
            for event in events:
                self._count(event)
                yield event

    async def transmit(self, messages: Messages) -> None:
        """Send messages of the session. Raises SttError."""
        connection = self._connection
        try:
            for message in messages:
                if connection.protocol.state is State.OPEN and not connection.transport.get_write_buffer_size():
                    # Nothing waits to be sent, so neither does this message. The locks and the timeout of the other branch
                    # cost some 8 % of a speaker's whole CPU time (docs/performance.md).
                    if isinstance(message, str):
                        connection.protocol.send_text(message.encode())
                    else:
                        connection.protocol.send_binary(message)
                    for octets in connection.protocol.data_to_send():
                        connection.transport.write(octets)
                else:
                    async with asyncio.timeout(_SEND_S):
                        await connection.send(message)
        except TimeoutError:
            raise SttStalled("The speech-to-text server accepts no more audio.", fix="Check the server's log.") from None
        except ConnectionClosed as error:
            raise self._closed(error) from None
        self._advance_deadline()

    def _advance_deadline(self) -> None:
        """Let `events` wake at the session's deadline if it is earlier now. A later one is noticed when the old one passes."""
        receiving, deadline = self._receiving, self._session.next_deadline()
        if receiving is None or deadline is None or receiving.expired():
            return
        when = receiving.when()
        if when is None or deadline < when:
            receiving.reschedule(deadline)

    def _closed(self, error: ConnectionClosed) -> SttError:
        return self._session.closed(error.rcvd.code if error.rcvd is not None else None, self._clock())

    def _count(self, event: SttEvent) -> None:
        if not isinstance(event, Token):
            return
        self._spacing.observe(event)
        metrics.stt_words.inc(self._spacing.begins_word(event))
        if not self._first_token_counted and self._first_audio_at is not None:
            metrics.stt_first_token_seconds.observe(self._clock() - self._first_audio_at)
        self._first_token_counted = True
