# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The speech-to-text engines of a service, in order of preference, and their replacement when the settings change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial

from live_transcription.audio_store.budget import PROCESS_BUDGET
from live_transcription.audio_store.opus_blocks import best_codec
from live_transcription.config import SttConfig
from live_transcription.errors import SttError, SttModelError
from live_transcription.languages import CHOICES, LANGUAGES
from live_transcription.status import EngineState
from live_transcription.stt.base import Hints, SpeakerBackend, SttBackend, SttStream
from live_transcription.stt.embedded import weights
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.stt.embedded.whisper import WhisperEngine
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.kyutai.modal.backend import ModalBackend
from live_transcription.stt.kyutai.modal.budget import GpuBudget
from live_transcription.stt.kyutai.moshi.backend import MoshiBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from live_transcription.stt.resilient.retry import ResiliencePolicy
from live_transcription.stt.sockets import sockets
from live_transcription.types import Language


class SttRegistry:
    """The engines of one configuration, in its order. Building a registry loads and connects nothing.

    If one of the engines is remote, `ResilientBackend` buffers audio during cold starts and outages. `FallbackBackend` below it
    chooses the engine for each connection. `budget` limits the GPU time on Modal, also that of earlier configurations. Belongs
    to one event loop.
    """

    def __init__(
        self,
        config: SttConfig | None = None,
        *,
        budget: GpuBudget | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        config = config or SttConfig()
        self.budget = budget or GpuBudget()
        engines: list[SttBackend] = []
        for name in config.in_use:
            if name == "modal" and config.modal is not None:
                engines.append(ModalBackend(config.modal, budget=self.budget, wall_clock=wall_clock))
            elif name == "moshi" and config.moshi is not None:
                engines.append(MoshiBackend(config.moshi))
            elif name == "embedded" and config.embedded is not None:
                source = weights.find(config.embedded.model_directory)
                engine = WhisperEngine(source, frozenset(LANGUAGES), config.embedded.device, detected=config.embedded.detected)
                engines.append(EmbeddedBackend(engine, config.embedded))
        self._engines = tuple(engines)
        self._fallback: FallbackBackend | None = None
        self._backend: SttBackend | None = None
        if engines:  # also for a single engine, since it tracks whether the engine works
            self._backend = self._fallback = FallbackBackend(engines, patience_s=config.patience_s)
        if self._backend is not None and any(isinstance(engine, ModalBackend | MoshiBackend) for engine in engines):
            self._backend = ResilientBackend(
                self._backend,
                policy=ResiliencePolicy(ring_s=config.ring_s),
                codec=best_codec(),
                budget=PROCESS_BUDGET,
            )

    def engines(self) -> tuple[str, ...]:
        """Names, the preferred one first; empty if none is configured. An engine that cannot be loaded is among them."""
        return tuple(engine.name for engine in self._engines)

    def engine(self, name: str) -> SttBackend | None:
        """One engine without resilience or fallback, for tests of that engine. `embedded` is whichever runs on this CPU."""
        for engine in self._engines:
            if name in (engine.name, "embedded" if isinstance(engine, EmbeddedBackend) else engine.name):
                return engine
        return None

    def note(self, name: str, error: SttError | None) -> None:
        """Note that a test of an engine has failed, or has succeeded (None). `name`: as for `engine`."""
        engine = self.engine(name)
        if engine is None or self._fallback is None:
            return
        index = self._engines.index(engine)
        if error is None:
            self._fallback.worked(index, proven=False)
        else:
            self._fallback.failed(index, error)

    def health(self) -> tuple[EngineState, ...]:
        """The state of each engine, the preferred one first."""
        return self._fallback.health if self._fallback is not None else ()

    @property
    def capacity(self) -> int | None:
        """How many speakers the engines can transcribe at the same time; None if a server works, which knows its own limit.

        If no server works, these are the speakers that servers still transcribe, and those that this machine can.
        """
        states = {engine.name: engine.state for engine in self.health()}
        servers = [engine for engine in self._engines if engine.capacity is None]
        here = [engine.capacity for engine in self._engines if engine.capacity is not None]
        if not here or any(states[server.name] in ("unknown", "up") for server in servers):
            return None
        return sum(here) + (sockets.open if servers else 0)

    def languages(self) -> Mapping[str, Language]:
        """The languages that at least one engine understands, by code, in the order to offer them."""
        known = frozenset[str]().union(*(engine.languages for engine in self._engines))
        return {code: language for code, language in CHOICES.items() if code in known}

    def backend(self) -> SttBackend:
        """All engines as one backend. Raises SttModelError if there is no engine."""
        if self._backend is None:
            raise SttModelError(
                "No speech-to-text engine is configured.",
                fix="Configure Modal or a moshi-server, or add the embedded engine to the order of engines.",
            )
        return self._backend

    async def aclose(self) -> None:
        """Release all weights, threads and connections. No stream is open any more."""
        for engine in self._engines:
            await engine.aclose()


class _Use:
    """How many streams and warm-ups of one registry are under way."""

    def __init__(self) -> None:
        self.count = 0
        self.idle = asyncio.Event()
        self.idle.set()


class CurrentBackend(SttBackend):
    """The engines of the current settings as one backend, for calls that outlive a change of the settings.

    New streams use the current engines; open streams stay with the engines that they began with. Owns all of them.
    """

    def __init__(self, registry: SttRegistry, *, prewarm: bool = True) -> None:
        self._uses: dict[SttRegistry, _Use] = {}
        self._set_registry(registry, prewarm)

    def replace(self, registry: SttRegistry, *, prewarm: bool) -> SttRegistry:
        """Use other engines from now on. Returns the old ones, to be passed to `retire`."""
        old = self.registry
        self._set_registry(registry, prewarm)
        return old

    async def retire(self, old: SttRegistry) -> None:
        """Close replaced engines once the last of their streams has ended."""
        await self._uses[old].idle.wait()
        del self._uses[old]
        await old.aclose()

    def for_speaker(self, hints: Hints = Hints()) -> SttBackend:  # noqa: B008  frozen
        return SpeakerBackend(self, partial(self._open, hints=hints))

    def open_stream(self, language: str) -> AbstractAsyncContextManager[SttStream]:
        return self._open(language, Hints())

    @asynccontextmanager
    async def _open(self, language: str, hints: Hints) -> AsyncIterator[SttStream]:
        with self._used() as registry:
            async with registry.backend().for_speaker(hints).open_stream(language) as stream:
                yield stream

    @property
    def capacity(self) -> int | None:
        return self.registry.capacity

    async def warm(self) -> None:
        """Warm the engines, unless the settings let them start at the first word. Raises SttModelError if there is none."""
        with self._used() as registry:
            backend = registry.backend()
            if self._prewarm:
                await backend.warm()

    async def aclose(self) -> None:
        for registry in list(self._uses):
            await registry.aclose()

    @contextmanager
    def _used(self) -> Iterator[SttRegistry]:
        """Keep the current engines open, even if they are replaced meanwhile."""
        registry = self.registry
        use = self._uses[registry]
        use.count += 1
        use.idle.clear()
        try:
            yield registry
        finally:
            use.count -= 1
            if not use.count:
                use.idle.set()

    def _set_registry(self, registry: SttRegistry, prewarm: bool) -> None:
        self.registry = registry
        self._prewarm = prewarm
        self._uses[registry] = _Use()
        self.languages = frozenset(registry.languages())
        self.name = "+".join(registry.engines()) or "none"
