# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Uses the first of several backends that supports the language and works, and returns to a better one as soon as it works.

The backend is chosen whenever a stream is opened. Below `ResilientBackend` that is also after each failure and, if a stream is
`replaceable`, at a pause. So an utterance that one backend drops is transcribed by the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

from live_transcription.errors import SttError, SttExpired, SttRefused, SttUnavailable
from live_transcription.runtime.tasks import owned_task
from live_transcription.stt.base import Hypothesis, SttBackend, SttEvent, SttStream, Token
from live_transcription.stt.fallback.health import BackendHealth, HealthReport
from live_transcription.stt.kyutai.handshake import SttStarting
from live_transcription.stt.metrics import SttStatistics
from live_transcription.types import Frame

logger = logging.getLogger(__name__)


class FallbackBackend(SttBackend):
    """`backends`: the best first. `patience_s`: seconds for opening one while another is available."""

    def __init__(
        self,
        backends: Sequence[SttBackend],
        *,
        patience_s: float = 15.0,
        statistics: SttStatistics | None = None,
        random: Random | None = None,
    ) -> None:
        if not backends:
            raise ValueError("At least one backend is needed")
        random = random or Random()
        self.name = "+".join(backend.name for backend in backends)
        self.languages = frozenset[str]().union(*(backend.languages for backend in backends))
        self.statistics = statistics or SttStatistics()
        self._backends = tuple(backends)
        self._patience_s = patience_s
        self._health = tuple(BackendHealth(backend.name, random) for backend in backends)
        self._probing: set[int] = set()
        self._last_served: int | None = None

    @property
    def health(self) -> tuple[HealthReport, ...]:
        """The state of each backend, the best first."""
        now = asyncio.get_running_loop().time()
        return tuple(health.report(now) for health in self._health)

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        """Raises SttError when no backend serves; it is retryable if that may change."""
        async with AsyncExitStack() as stack:
            index, inner = await self._open(stack, language)
            better = [other for other in self._fit(language) if other < index]
            stream = _FallbackStream(self, index, inner, better, self._fit(language)[-1] > index)
            if better:
                await stack.enter_async_context(owned_task(self._probe(better), "stt probe"))
            yield stream

    async def warm(self) -> None:
        """Get the best backend ready that will serve; the next one where it fails or takes long. Raises the last failure."""
        failure: SttError | None = None
        for index, backend in enumerate(self._backends):
            if not self._health[index].usable(self._now()) and index + 1 < len(self._backends):
                continue
            try:
                async with asyncio.timeout(self._patience_s if index + 1 < len(self._backends) else None):
                    await backend.warm()
            except TimeoutError:
                failure = SttStarting(f"The speech-to-text backend {backend.name} takes long to start.")
                self.failed(index, failure)
            except SttError as error:
                failure = error
                self.failed(index, error)
            else:
                self._health[index].succeeded(self._now())
                return
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        for backend in self._backends:
            await backend.aclose()

    def usable(self, index: int) -> bool:
        return self._health[index].usable(self._now())

    def worked(self, index: int) -> None:
        """A stream of this backend brought text."""
        self._health[index].succeeded(self._now())

    def failed(self, index: int, error: SttError) -> None:
        """A stream of this backend was of no use, or could not be had."""
        news = self._health[index].failed(error, self._now())
        if len(self._backends) == 1:
            return  # the caller gets this error, and counts and logs it
        self.statistics.failures[error.code] += 1
        logger.log(
            logging.WARNING if news else logging.DEBUG,
            "Speech-to-text by %s: %s",
            self._backends[index].name,
            str(error),
            extra={"code": error.code},
        )

    async def _open(self, stack: AsyncExitStack, language: str) -> tuple[int, SttStream]:
        fit = self._fit(language)
        if not fit:
            raise SttRefused(
                f"No speech-to-text backend understands the language {language}.", fix="Enable the embedded engine."
            )
        # If none is known to work, each is tried.
        candidates = [index for index in fit if self.usable(index)] or fit
        failures: list[SttError] = []
        for index in candidates:
            last = index == candidates[-1]
            try:
                async with asyncio.timeout(None if last else self._patience_s):
                    stream = await stack.enter_async_context(self._backends[index].open_stream(language))
            except TimeoutError:
                failures.append(SttStarting(f"The speech-to-text backend {self._backends[index].name} takes long to start."))
            except SttError as error:
                failures.append(error)
            else:
                self._serves(index)
                return index, stream
            self.failed(index, failures[-1])
        raise next((failure for failure in failures if failure.retryable), failures[-1])

    def _fit(self, language: str) -> list[int]:
        return [index for index, backend in enumerate(self._backends) if language in backend.languages]

    def _serves(self, index: int) -> None:
        if self._last_served not in (None, index):
            self.statistics.switches[self._backends[index].name] += 1
            logger.warning("Speech-to-text now goes to %s", self._backends[index].name)
        self._last_served = index

    async def _probe(self, better: Sequence[int]) -> None:
        """Ask the better backends that are down whether they are back, as often as their health advises."""
        while True:
            due = [(at, index) for index in better if (at := self._health[index].probe_at) is not None]
            if not due:
                await asyncio.sleep(1.0)
                continue
            at, index = min(due)
            await asyncio.sleep(min(1.0, max(0.0, at - self._now())) if index not in self._probing else 1.0)
            if self._now() < at or index in self._probing or self._health[index].probe_at != at:
                continue
            self._probing.add(index)
            try:
                await self._backends[index].warm()
            except SttError as error:
                self.failed(index, error)
            else:
                self.worked(index)
                logger.info("Speech-to-text by %s is back", self._backends[index].name)
            finally:
                self._probing.discard(index)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


class _FallbackStream(SttStream):
    """A stream of one of the backends, whose success or failure is reported to the backend's health."""

    def __init__(self, owner: FallbackBackend, index: int, stream: SttStream, better: Sequence[int], others: bool) -> None:
        self._owner = owner
        self._index = index
        self._stream = stream
        self._better = better
        self._others = others or bool(better)
        self._worked = False

    @property
    def heard_s(self) -> float | None:
        return self._stream.heard_s

    @property
    def replaceable(self) -> bool:
        return self._stream.replaceable or any(self._owner.usable(index) for index in self._better)

    def send_now(self, frame: Frame) -> bool:
        return self._stream.send_now(frame)

    async def send(self, frame: Frame) -> None:
        try:
            await self._stream.send(frame)
        except SttError as error:
            raise self._failed(error) from None

    async def flush(self) -> None:
        try:
            await self._stream.flush()
        except SttError as error:
            raise self._failed(error) from None

    async def end(self) -> None:
        try:
            await self._stream.end()
        except SttError as error:
            raise self._failed(error) from None

    async def events(self) -> AsyncIterator[SttEvent]:
        try:
            async for event in self._stream.events():
                if not self._worked and isinstance(event, (Token, Hypothesis)):
                    self._worked = True
                    self._owner.worked(self._index)
                yield event
        except SttError as error:
            raise self._failed(error) from None

    def _failed(self, error: SttError) -> SttError:
        """One break after it has worked is no reason to leave a backend; the next opening will tell."""
        if not isinstance(error, SttExpired) and (not self._worked or not error.retryable):
            self._owner.failed(self._index, error)
        if not error.retryable and self._others:
            return SttUnavailable(error.message, fix=error.fix)
        return error
