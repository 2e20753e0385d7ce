# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which speech-to-text there is, in order of preference, and the languages that can be offered with it."""

from __future__ import annotations

from collections.abc import Mapping

from live_transcription.audio_store.budget import PROCESS_BUDGET
from live_transcription.audio_store.opus_blocks import best_codec
from live_transcription.config import SttConfig
from live_transcription.errors import SttModelError
from live_transcription.languages import LANGUAGES
from live_transcription.stt.base import SttBackend
from live_transcription.stt.embedded import weights
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.stt.embedded.whisper import WhisperEngine
from live_transcription.stt.exposition import collector
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.fallback.health import HealthReport
from live_transcription.stt.kyutai.modal.backend import ModalBackend
from live_transcription.stt.kyutai.moshi.backend import MoshiBackend
from live_transcription.stt.metrics import SttStatistics
from live_transcription.stt.resilient.backend import ResiliencePolicy, ResilientBackend
from live_transcription.types import Language


class SttRegistry:
    """The engines of one service, in the order of the settings. Building it loads and connects nothing.

    Remote engines stand behind `ResilientBackend`, which keeps the audio through cold starts and outages, and above
    `FallbackBackend`, which lets the next engine serve in the meantime. Belongs to one event loop.
    """

    def __init__(self, config: SttConfig | None = None) -> None:
        config = config or SttConfig()
        self.statistics = SttStatistics()
        collector.attach(self.statistics)
        engines: list[SttBackend] = []
        for name in config.in_use:
            if name == "modal" and config.modal is not None:
                engines.append(ModalBackend(config.modal, statistics=self.statistics))
            elif name == "moshi" and config.moshi is not None:
                engines.append(MoshiBackend(config.moshi, statistics=self.statistics))
            elif name == "embedded" and config.embedded is not None:
                source = weights.find(config.embedded.model_directory)
                engine = WhisperEngine(source, frozenset(LANGUAGES), config.embedded.device)
                engines.append(EmbeddedBackend(engine, config.embedded))
        remote = any(isinstance(engine, ModalBackend | MoshiBackend) for engine in engines)
        self._engines = tuple(engines)
        self._fallback: FallbackBackend | None = None
        self._backend: SttBackend | None = None
        if self._engines:  # also for a single engine, since it tracks whether the engine works
            self._fallback = FallbackBackend(self._engines, patience_s=config.patience_s, statistics=self.statistics)
            self._backend = self._fallback
        if remote and self._backend is not None:
            policy = ResiliencePolicy(ring_s=config.ring_s)
            self._backend = ResilientBackend(
                self._backend, policy=policy, statistics=self.statistics, codec=best_codec(), budget=PROCESS_BUDGET
            )

    def engines(self) -> tuple[str, ...]:
        """Names, the preferred one first; empty if none is configured. An engine that cannot be loaded is among them."""
        return tuple(engine.name for engine in self._engines)

    def engine(self, name: str) -> SttBackend | None:
        """One engine by itself, with nothing above it, to see whether it works; `embedded` is whichever runs on this CPU."""
        for engine in self._engines:
            if name in (engine.name, "embedded" if isinstance(engine, EmbeddedBackend) else engine.name):
                return engine
        return None

    def health(self) -> tuple[HealthReport, ...]:
        """The state of each engine."""
        return self._fallback.health if self._fallback is not None else ()

    def languages(self) -> Mapping[str, Language]:
        """What any engine understands, by code, in the order to offer it."""
        known = frozenset[str]().union(*(engine.languages for engine in self._engines))
        return {code: language for code, language in LANGUAGES.items() if code in known}

    def backend(self) -> SttBackend:
        """All engines as one. Raises SttModelError if there is none."""
        if self._backend is None:
            raise SttModelError(
                "No speech-to-text engine is configured.",
                fix="Configure Modal or a moshi-server, or add the embedded engine to the order of engines.",
            )
        return self._backend

    async def aclose(self) -> None:
        """Free all weights, threads and connections; no stream is open any more."""
        for engine in self._engines:
            await engine.aclose()
        collector.detach(self.statistics)
