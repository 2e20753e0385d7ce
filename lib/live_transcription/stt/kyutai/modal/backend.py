# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Kyutai's streaming model on Modal's serverless GPUs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection

from live_transcription.config import ModalConfig
from live_transcription.errors import SttError, SttExpired, SttStarting
from live_transcription.languages import AUTO
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.kyutai.handshake import open_response, open_websocket
from live_transcription.stt.kyutai.modal.budget import GpuBudget
from live_transcription.stt.kyutai.modal.protocol import ModalSession
from live_transcription.stt.kyutai.steps import SPOKEN
from live_transcription.stt.kyutai.websocket_stream import WebsocketStream
from live_transcription.texts import Text
from live_transcription.types import Frame

_SERVICE = Text("Kyutai on Modal")
#: Seconds for which a container is known to be up after it was woken, so that asking again is pointless.
_WARM_FOR_S = 30.0
#: Seconds between two requests to a container that is starting.
_ASK_AGAIN_S = 2.0
#: Seconds to wait for the first `ready` of a deployment. Ours sends it right after the handshake, others never do.
_GREETING_S = 0.3


#: Seconds for a pause of the speaker, after the GPU minutes of the day are used up, before a stream ends without one.
_LEAVE_S = 10.0


class ModalBackend(SttBackend):
    """Streams of one deployment. Opening one takes as long as a container takes to start, up to `open_timeout_s`.

    `budget` limits the GPU time of all deployments so far; `wall_clock` returns seconds since the epoch.
    """

    name = "modal"
    languages = SPOKEN | {AUTO}

    def __init__(
        self, config: ModalConfig, *, budget: GpuBudget | None = None, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._budget = budget or GpuBudget()
        self._wall_clock = wall_clock
        self._warming = asyncio.Lock()
        self._warm_until = float("-inf")
        self._open = 0
        # Whether this deployment's sessions begin with `ready`; None: not known yet.
        self._greets: bool | None = None

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        """Open a stream. The model detects by itself whether it hears English or French, so `language` is not sent.

        Raises SttBudgetSpent at a limit of the budget.
        """
        del language
        now = asyncio.get_running_loop().time
        socket = self._budget.request(now(), self._wall_clock())
        try:
            async with open_websocket(self._config, _SERVICE) as connection:
                self._budget.opened(socket, now(), self._wall_clock())
                session = ModalSession(now(), rotate_after_s=self._config.rotate_after_s)
                stream = _ModalStream(connection, session, self._spent)
                await self._greeting(stream, session)
                self._open += 1
                try:
                    yield stream
                finally:
                    self._open -= 1
                    self._greets = session.ready
        finally:
            self._budget.closed(socket, now(), self._wall_clock())

    async def _greeting(self, stream: WebsocketStream, session: ModalSession) -> None:
        """Wait for `ready` if this deployment sends it. Raises SttError, also if a model that should send it does not."""
        if self._greets is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GREETING_S):
                    await stream.receive_until(lambda: session.ready)
        elif self._greets:
            await stream.receive_until(lambda: session.ready)

    async def warm(self) -> None:
        """Start a container and wait until it is up, unless one is known to be up. Concurrent callers share the wait.

        Raises SttBudgetSpent while no stream could be opened.
        """
        clock = asyncio.get_running_loop().time
        if (refusal := self._budget.refusal(clock(), self._wall_clock())) is not None:
            raise refusal
        async with self._warming:
            if self._open or clock() < self._warm_until:
                return
            deadline = clock() + self._config.open_timeout_s
            while (error := await self._check_health()) is not None:
                if not isinstance(error, SttStarting) or clock() + _ASK_AGAIN_S >= deadline:
                    raise error
                await asyncio.sleep(_ASK_AGAIN_S)
            self._warm_until = clock() + _WARM_FOR_S

    def _spent(self) -> bool:
        return self._budget.spent(asyncio.get_running_loop().time(), self._wall_clock())

    async def _check_health(self) -> SttError | None:
        try:
            async with open_response(self._config, self._config.health_url, _SERVICE):
                return None
        except SttError as error:
            return error


class _ModalStream(WebsocketStream):
    """A stream that moves to another engine when the GPU minutes of the day are used up: at a pause, or after `_LEAVE_S`."""

    def __init__(self, connection: ClientConnection, session: ModalSession, spent: Callable[[], bool]) -> None:
        super().__init__(connection, session)
        self._spent = spent
        self._spent_at: float | None = None

    @property
    def replaceable(self) -> bool:
        return super().replaceable or self._spent()

    async def send(self, frame: Frame) -> None:
        if not self._spent():
            self._spent_at = None
        elif self._spent_at is None:
            self._spent_at = self._clock()
        elif self._clock() >= self._spent_at + _LEAVE_S:
            # The open utterance is transcribed again by the next engine, so no word is cut.
            raise SttExpired("Today's GPU minutes are used up.")
        await super().send(frame)
