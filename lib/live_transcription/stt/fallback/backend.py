# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Uses the first of several backends that supports the language and works, and returns to a better one as soon as it works.

The backend is chosen whenever a stream is opened. Below `ResilientBackend` that is also after each failure and, if a stream is
`replaceable`, at a pause. So an utterance that one backend drops is transcribed by the next.

A stream that works badly (no words, the same word again and again, a growing lag) ends with an `SttUnhealthy`; see
`stt.fallback.stream_health` and `stt.fallback.attempts`. A backend that failed twice is tried once a minute, by one speaker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from random import Random

from live_transcription.errors import (
    SttDeaf,
    SttError,
    SttExpired,
    SttRefused,
    SttRepeating,
    SttSlow,
    SttStarting,
    SttUnavailable,
    SttUnhealthy,
)
from live_transcription.observability import metrics
from live_transcription.runtime.tasks import owned_task
from live_transcription.status import EngineState
from live_transcription.stt.base import Hints, SttBackend, SttStream
from live_transcription.stt.fallback.attempts import Attempts, Outcome
from live_transcription.stt.fallback.health import BackendHealth
from live_transcription.stt.fallback.stream_health import SUSPECT, Patience, StreamHealth
from live_transcription.transcript import Flushed, Hypothesis, SttEvent, Token
from live_transcription.types import Frame

logger = logging.getLogger(__name__)

#: Seconds between two checks whether a better backend has to be probed.
_LOOK_S = 1.0
#: Seconds for which a stream must keep up before its words count as a recovery from lag or repetition.
_PROVEN_S = 30.0
#: Seconds of speech for which a connection must have sent a word when it ends, usually and while its backend is tried.
_SHORT_S = 3.0
_TRIAL_S = 1.2


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
        self.backends = tuple(backends)
        self.patience_s = patience_s
        self._health = tuple(BackendHealth(backend.name, random, remote=backend.remote) for backend in backends)
        # Per backend: seconds of speech without a word in streams that have ended since its last word.
        self._silent_s = [0.0] * len(backends)
        self._probing: set[int] = set()
        # By language, since not every backend understands each.
        self._last_used: dict[str, int] = {}

    @property
    def health(self) -> tuple[EngineState, ...]:
        """The state of each backend, the best first."""
        return tuple(health.report(_now()) for health in self._health)

    def for_speaker(self, hints: Hints = Hints()) -> SttBackend:  # noqa: B008  frozen
        return _Speaker(self, hints)

    def open_stream(self, language: str) -> AbstractAsyncContextManager[SttStream]:
        """Open a stream of the best backend that works.

        Raises SttError if no backend can open one; it is retryable if that may change.
        """
        return self.for_speaker().open_stream(language)

    async def warm(self) -> None:
        """Warm the best backend, or the next one if it fails or takes too long. Raises the last failure."""
        failure: SttError | None = None
        for index, backend in enumerate(self.backends):
            last = index + 1 == len(self.backends)
            if not last and not self.health_of(index).usable(None, _now()):
                continue
            try:
                with self.observed(index):
                    async with asyncio.timeout(None if last else self.patience_s):
                        await backend.warm()
            except SttError as error:
                failure = error
            else:
                self.health_of(index).answered()
                return
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        for backend in self.backends:
            await backend.aclose()

    # For the streams of this backend.

    def health_of(self, index: int) -> BackendHealth:
        return self._health[index]

    def silent_s(self, index: int) -> float:
        """Seconds of speech without a word since the backend's last word, in streams that have ended."""
        return self._silent_s[index]

    def ended(self, index: int, silent_s: float) -> None:
        """Note that a stream has ended, and the seconds of speech without a word at its end."""
        self._silent_s[index] += silent_s

    def worked(self, index: int, *, proven: bool) -> None:
        """Note that a stream of this backend emitted text. `proven`: it has kept up with the speech for a while."""
        self._silent_s[index] = 0.0
        health = self._health[index]
        if proven or not isinstance(health.error, SttSlow | SttRepeating):
            health.succeeded(_now())

    def failed(self, index: int, error: SttError) -> None:
        """Note that a stream of this backend emitted nothing before it failed, could not be opened, or is unhealthy."""
        name = self.backends[index].name
        changed = self._health[index].failed(error, _now())
        metrics.stt_engine_failures.labels(name, error.code).inc()
        if len(self.backends) == 1:
            return  # the caller counts and logs the error
        metrics.stt_failures.labels(error.code).inc()
        logger.log(
            logging.WARNING if changed else logging.DEBUG,
            "Speech-to-text by %s: %s",
            name,
            str(error),
            extra={"code": error.code},
        )

    def acquitted(self, index: int) -> None:
        """Note that a backend was not deaf."""
        self._silent_s[index] = 0.0
        self._health[index].acquitted()
        logger.info("Speech-to-text by %s is not deaf: no engine finds words in this speech", self.backends[index].name)

    def used(self, index: int, language: str) -> None:
        """Note that a stream of this backend was opened."""
        if self._last_used.get(language, index) != index:
            metrics.stt_engine_switches.labels(self.backends[index].name).inc()
            logger.warning("Speech-to-text now uses %s", self.backends[index].name)
        self._last_used[language] = index

    @contextlib.contextmanager
    def observed(self, index: int) -> Iterator[None]:
        """Note it if the request to a backend in this block fails or takes too long."""
        try:
            yield
        except TimeoutError:
            error: SttError = SttStarting(
                "The engine {engine} is taking a long time to start.",
                fix="If this happens often, check the server's log.",
                engine=self.backends[index].name,
            )
            self.failed(index, error)
            raise error from None
        except SttError as error:
            self.failed(index, error)
            raise

    async def probe(self, better: Sequence[int]) -> None:
        """Probe the better backends that are down, as often as their health says. One probe serves all streams."""
        while True:
            due = [(at, index) for index in better if (at := self._health[index].probe_at) is not None]
            at, index = min(due, default=(_now() + _LOOK_S, -1))
            # Short sleeps, since another stream may find out meanwhile that the backend works.
            await asyncio.sleep(_LOOK_S if index in self._probing else min(_LOOK_S, max(0.0, at - _now())))
            if index < 0 or _now() < at or index in self._probing or self._health[index].probe_at != at:
                continue
            self._probing.add(index)
            try:
                with self.observed(index):
                    await self.backends[index].warm()
            except SttError:
                continue
            finally:
                self._probing.discard(index)
            self._health[index].answered()
            logger.info("Speech-to-text by %s answers again; one speaker tries it first", self.backends[index].name)


class _Speaker(SttBackend):
    """The backends for the consecutive streams of one speaker."""

    def __init__(self, owner: FallbackBackend, hints: Hints) -> None:
        self.name = owner.name
        self.languages = owner.languages
        self.owner = owner
        self._backends = tuple(backend.for_speaker(hints) for backend in owner.backends)
        self.attempts = Attempts(len(owner.backends))

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        owner = self.owner
        supporting = [index for index, backend in enumerate(owner.backends) if language in backend.languages]
        if not supporting:
            raise SttRefused(
                "No speech-to-text engine supports the language {language}.",
                fix="Enable the embedded engine.",
                language=language,
            )
        async with AsyncExitStack() as stack:
            index, inner = await self._open(stack, language, supporting)
            better = [other for other in supporting if other < index]
            if better:
                await stack.enter_async_context(owned_task(owner.probe(better), "stt probe"))
            stream = _FallbackStream(self, index, inner, supporting)
            stack.callback(stream.note_end)
            yield stream

    def usable(self, index: int) -> bool:
        """Whether to try a stream of this backend."""
        now = _now()
        return self.owner.health_of(index).usable(self, now) and not self.attempts.avoids(index, now)

    def _is_useless(self, index: int) -> bool:
        error = self.owner.health_of(index).error
        return isinstance(error, SttDeaf | SttRepeating) or (error is not None and not error.retryable)

    async def _open(self, stack: AsyncExitStack, language: str, supporting: Sequence[int]) -> tuple[int, SttStream]:
        owner = self.owner
        # If no backend is known to work, try each one, first those that may at least deliver late captions.
        candidates = [index for index in supporting if self.usable(index)] or sorted(supporting, key=self._is_useless)
        failures: list[SttError] = []
        for index in candidates:
            patience_s = self.attempts.opening_s(index, owner.patience_s, _now())
            owner.health_of(index).reserve(self, _now(), until=math.inf)
            try:
                with owner.observed(index):
                    async with asyncio.timeout(None if index == candidates[-1] else patience_s):
                        stream = await stack.enter_async_context(self._backends[index].open_stream(language))
            except SttError as error:
                failures.append(error)
                continue
            finally:
                stack.callback(owner.health_of(index).release, self)
            owner.used(index, language)
            return index, stream
        raise next((failure for failure in failures if failure.retryable), failures[-1])


class _FallbackStream(SttStream):
    """A stream of one of the backends. Reports to the backend's health, and ends if its backend is unhealthy."""

    def __init__(self, speaker: _Speaker, index: int, stream: SttStream, supporting: Sequence[int]) -> None:
        self._speaker = speaker
        self._owner = speaker.owner
        self._index = index
        self._stream = stream
        self._others = [other for other in supporting if other != index]
        self._remote = self._owner.backends[index].remote
        self._opened_at = _now()
        self._worked = False
        self._trial = self._owner.health_of(index).tried_by(speaker)
        patience = SUSPECT if self._trial else speaker.attempts.patience(index, self._opened_at)
        # Part of the speech without words may have been in earlier streams, but this one must receive enough of it, too.
        usual = self._remote and patience == Patience()
        silent_s = min(self._owner.silent_s(index), patience.speech_s - SUSPECT.speech_s) if usual else 0.0
        self._health = StreamHealth(patience, silent_s=silent_s, answers_only=not self._remote)
        self._known_silent_s = silent_s

    @property
    def acknowledged_s(self) -> float | None:
        return self._stream.acknowledged_s

    @property
    def behind_s(self) -> float:
        return self._stream.behind_s

    @property
    def replaceable(self) -> bool:
        if self._stream.replaceable:
            return True
        for index in self._others:
            if index < self._index and self._speaker.usable(index):
                self._owner.health_of(index).reserve(self._speaker, _now())
                return True
        return False

    def mark_speech(self, active: bool) -> None:
        self._health.mark_speech(active)

    async def send(self, frame: Frame) -> None:
        with self._observed():
            self._health.sent(len(frame), _now())
            await self._stream.send(frame)
            self._check()

    async def flush(self) -> None:
        with self._observed():
            self._health.flush_sent(_now())
            await self._stream.flush()

    async def end(self) -> None:
        with self._observed():
            await self._stream.end()

    async def events(self) -> AsyncIterator[SttEvent]:
        with self._observed():
            async for event in self._stream.events():
                match event:
                    case Token(text=text, start_s=start_s):
                        if self._health.word(text, start_s, _now()):
                            self._note_text()
                    case Hypothesis(text=text):
                        if text:
                            self._health.text()
                            self._note_text()
                    case Flushed():
                        self._health.flush_answered()
                yield event
                self._check()
            error = self._health.check_end(_TRIAL_S if self._trial else _SHORT_S)
            if error is not None:
                self._judge(error, ended=True)

    def note_end(self) -> None:
        """The stream has ended."""
        self._owner.ended(self._index, max(0.0, self._health.silent_s - self._known_silent_s))

    def _note_text(self) -> None:
        self._known_silent_s = 0.0
        keeps_up = self._health.lag_s <= SUSPECT.lag_s and self._health.repetitions <= 1
        proven = keeps_up and _now() >= self._opened_at + _PROVEN_S
        if not self._worked or isinstance(self._owner.health_of(self._index).error, SttUnhealthy):
            self._owner.worked(self._index, proven=proven)
        self._worked = True
        self._speaker.attempts.word()

    def _check(self) -> None:
        """Raise SttUnhealthy if the backend is unhealthy."""
        error = self._health.check(self._stream.acknowledged_s, _now())
        if error is not None:
            self._judge(error)

    def _judge(self, error: SttUnhealthy, *, ended: bool = False) -> None:
        attempts = self._speaker.attempts
        alone = not any(self._speaker.usable(other) for other in self._others)
        if not self._remote:
            # A local engine is never deaf. If it finds no words, there are none, so the remote engine was not deaf either.
            self._health.text()
            if not attempts.deaf:
                return
        outcome = attempts.problem(self._index, error, _now(), alone=alone, trial=self._trial)
        if outcome is Outcome.WORDLESS:
            for index in attempts.acquit():
                self._owner.acquitted(index)
        elif outcome is Outcome.FAILED:
            self._owner.failed(self._index, error)
        else:
            metrics.stt_engine_failures.labels(self._owner.backends[self._index].name, error.code).inc()
        # When the stream has ended, the audio is sent again only if another connection may find words.
        if self._remote and not (ended and (outcome is Outcome.WORDLESS or (outcome is Outcome.FAILED and alone))):
            raise error

    @contextlib.contextmanager
    def _observed(self) -> Iterator[None]:
        try:
            yield
        except SttError as error:
            if not isinstance(error, SttExpired):
                self._speaker.attempts.broke(self._index, _now())
            # A break of a connection that has worked does not count against the backend; the next opening will show.
            if not isinstance(error, SttExpired | SttUnhealthy) and (not self._worked or not error.retryable):
                self._owner.failed(self._index, error)
            if not error.retryable and self._others:
                raise SttUnavailable(error.message, fix=error.fix) from None  # another backend may succeed
            raise


def _now() -> float:
    return asyncio.get_running_loop().time()
