# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Uses the first of several backends that supports the language and works, and returns to a better one as soon as it works.

The backend is chosen whenever a stream is opened. Below `ResilientBackend` that is also after each failure and, if a stream is
`replaceable`, at a pause. So an utterance that one backend drops is transcribed by the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

from live_transcription.errors import SttError, SttExpired, SttRefused, SttStarting, SttUnavailable
from live_transcription.observability import metrics
from live_transcription.runtime.tasks import owned_task
from live_transcription.status import EngineState
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.fallback.health import BackendHealth
from live_transcription.transcript import Hypothesis, SttEvent, Token
from live_transcription.types import Frame

logger = logging.getLogger(__name__)

#: Seconds between two looks at the health of better backends, none of which is to be probed now.
_LOOK_S = 1.0


class FallbackBackend(SttBackend):
    """`backends`, the best first. `patience_s`: seconds for opening a stream of one while another one is available."""

    def __init__(
        self,
        backends: Sequence[SttBackend],
        *,
        patience_s: float = 15.0,
        random: Random | None = None,
    ) -> None:
        if not backends:
            raise ValueError("At least one backend is needed")
        random = random or Random()
        self.name = "+".join(backend.name for backend in backends)
        self.languages = frozenset[str]().union(*(backend.languages for backend in backends))
        self._backends = tuple(backends)
        self._patience_s = patience_s
        self._health = tuple(BackendHealth(backend.name, random) for backend in backends)
        self._probing: set[int] = set()
        self._last_used: int | None = None

    @property
    def health(self) -> tuple[EngineState, ...]:
        """The state of each backend, the best first."""
        return tuple(health.report(self._now()) for health in self._health)

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        """Open a stream of the best backend that works.

        Raises SttError if no backend can open one; it is retryable if that may change.
        """
        supporting = [index for index, backend in enumerate(self._backends) if language in backend.languages]
        if not supporting:
            raise SttRefused(
                "No speech-to-text backend understands the language {language}.",
                fix="Enable the embedded engine.",
                language=language,
            )
        async with AsyncExitStack() as stack:
            index, inner = await self._open(stack, language, supporting)
            better = [other for other in supporting if other < index]
            if better:
                await stack.enter_async_context(owned_task(self._probe(better), "stt probe"))
            yield _FallbackStream(self, index, inner, better=better, alone=len(supporting) == 1)

    async def warm(self) -> None:
        """Warm the best backend, or the next one if it fails or takes too long. Raises the last failure."""
        failure: SttError | None = None
        for index, backend in enumerate(self._backends):
            last = index + 1 == len(self._backends)
            if not last and not self.usable(index):
                continue
            try:
                with self._observed(index):
                    async with asyncio.timeout(None if last else self._patience_s):
                        await backend.warm()
            except SttError as error:
                failure = error
            else:
                self.worked(index)
                return
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        for backend in self._backends:
            await backend.aclose()

    def usable(self, index: int) -> bool:
        """Whether a stream of this backend is worth trying."""
        return self._health[index].usable(self._now())

    def worked(self, index: int) -> None:
        """Note that a stream of this backend emitted text."""
        self._health[index].succeeded()

    def failed(self, index: int, error: SttError) -> None:
        """Note that a stream of this backend emitted nothing before it failed, or could not be opened."""
        changed = self._health[index].failed(error, self._now())
        if len(self._backends) == 1:
            return  # the caller counts and logs the error
        metrics.stt_failures.labels(error.code).inc()
        logger.log(
            logging.WARNING if changed else logging.DEBUG,
            "Speech-to-text by %s: %s",
            self._backends[index].name,
            str(error),
            extra={"code": error.code},
        )

    async def _open(self, stack: AsyncExitStack, language: str, supporting: Sequence[int]) -> tuple[int, SttStream]:
        # If no backend is known to work, each one is tried.
        candidates = [index for index in supporting if self.usable(index)] or supporting
        failures: list[SttError] = []
        for index in candidates:
            try:
                with self._observed(index):
                    async with asyncio.timeout(None if index == candidates[-1] else self._patience_s):
                        stream = await stack.enter_async_context(self._backends[index].open_stream(language))
            except SttError as error:
                failures.append(error)
                continue
            if self._last_used not in (None, index):
                metrics.stt_engine_switches.labels(self._backends[index].name).inc()
                logger.warning("Speech-to-text now uses %s", self._backends[index].name)
            self._last_used = index
            return index, stream
        raise next((failure for failure in failures if failure.retryable), failures[-1])

    @contextlib.contextmanager
    def _observed(self, index: int) -> Iterator[None]:
        """Note the failure of a backend that is asked for something, also if it takes too long."""
        try:
            yield
        except TimeoutError:
            error: SttError = SttStarting(
                "The speech-to-text backend {engine} takes long to start.", engine=self._backends[index].name
            )
            self.failed(index, error)
            raise error from None
        except SttError as error:
            self.failed(index, error)
            raise

    async def _probe(self, better: Sequence[int]) -> None:
        """Probe the better backends that are down, as often as their health says. One probe serves all streams."""
        while True:
            due = [(at, index) for index in better if (at := self._health[index].probe_at) is not None]
            at, index = min(due, default=(self._now() + _LOOK_S, -1))
            # Short sleeps, since another stream may find out meanwhile that the backend works.
            await asyncio.sleep(_LOOK_S if index in self._probing else min(_LOOK_S, max(0.0, at - self._now())))
            if index < 0 or self._now() < at or index in self._probing or self._health[index].probe_at != at:
                continue
            self._probing.add(index)
            try:
                with self._observed(index):
                    await self._backends[index].warm()
            except SttError:
                continue
            finally:
                self._probing.discard(index)
            self.worked(index)
            logger.info("Speech-to-text by %s works again", self._backends[index].name)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


class _FallbackStream(SttStream):
    """A stream of one of the backends, which reports to the backend's health."""

    def __init__(self, owner: FallbackBackend, index: int, stream: SttStream, *, better: Sequence[int], alone: bool) -> None:
        self._owner = owner
        self._index = index
        self._stream = stream
        self._better = better
        self._alone = alone
        self._worked = False

    @property
    def acknowledged_s(self) -> float | None:
        return self._stream.acknowledged_s

    @property
    def replaceable(self) -> bool:
        return self._stream.replaceable or any(self._owner.usable(index) for index in self._better)

    async def send(self, frame: Frame) -> None:
        with self._observed():
            await self._stream.send(frame)

    async def flush(self) -> None:
        with self._observed():
            await self._stream.flush()

    async def end(self) -> None:
        with self._observed():
            await self._stream.end()

    async def events(self) -> AsyncIterator[SttEvent]:
        with self._observed():
            async for event in self._stream.events():
                if not self._worked and isinstance(event, (Token, Hypothesis)):
                    self._worked = True
                    self._owner.worked(self._index)
                yield event

    @contextlib.contextmanager
    def _observed(self) -> Iterator[None]:
        try:
            yield
        except SttError as error:
            # A break of a connection that has worked does not count against the backend; the next opening will show.
            if not isinstance(error, SttExpired) and (not self._worked or not error.retryable):
                self._owner.failed(self._index, error)
            if not error.retryable and not self._alone:
                raise SttUnavailable(error.message, fix=error.fix) from None  # another backend may succeed
            raise
