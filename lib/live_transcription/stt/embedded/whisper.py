# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Whisper on CTranslate2, fast enough for live captions on a CPU.

Whisper usually encodes 30 s, however short the audio is. This engine encodes a shorter window, and the time to encode falls in
proportion. The window must be a few seconds longer than the audio: without silence after the speech, Whisper repeats sentences
or does not stop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from live_transcription.config import Device
from live_transcription.errors import SttModelError
from live_transcription.languages import AUTO
from live_transcription.stt.base import Hints
from live_transcription.stt.embedded import guards
from live_transcription.stt.embedded.language_choice import LanguageChoice
from live_transcription.stt.embedded.recogniser import RATE, Recogniser, Samples
from live_transcription.stt.embedded.utterance import voiced_s
from live_transcription.stt.embedded.weights import BundledModel, ModelDirectory

logger = logging.getLogger(__name__)

#: Maximum seconds of audio for each encoder window, and the window in seconds. Longer audio gets `WHOLE_WINDOW`.
HYPOTHESIS_WINDOWS = ((4.0, 8), (8.5, 10), (14.5, 15))
FINAL_WINDOWS = ((8.5, 10), (14.5, 15))
WHOLE_WINDOW = 30

#: Maximum tokens per second of speech, and tokens added for the start. A text that reaches the limit is a loop.
TOKENS_PER_S = 9
TOKENS_SPARE = 12

#: CTranslate2's quantisation by device; "auto" is the fastest that the GPU supports.
COMPUTE_TYPES: dict[Device, str] = {"cpu": "int8", "cuda": "auto"}

#: Mel frames per second.
_MEL_RATE = 100
#: Punctuation that Whisper adds where the audio ends, although the sentence continues.
_LOOSE_END = " .,;:!?…-"


@dataclass(frozen=True, slots=True)
class Decoded:
    """The result of a decode.

    `score` is the mean log-probability per token, `no_speech` the probability that there is no speech. `cut_off` is True if
    the text reached the maximum number of tokens.
    """

    text: str = field(repr=False)
    score: float
    no_speech: float
    cut_off: bool


class WhisperEngine:
    """One model for all speakers. Each of CTranslate2's workers runs one decode at a time; they share the weights.

    A multilingual model also supports `AUTO`, and then finds the language among `detected`, or among all if that is empty.
    """

    name = "whisper"

    def __init__(
        self,
        source: ModelDirectory | BundledModel,
        languages: frozenset[str],
        device: Device = "cpu",
        *,
        detected: Sequence[str] = (),
    ) -> None:
        self.languages = languages | {AUTO} if source.multilingual else languages & {"en"}
        self._detected = languages & set(detected) or languages
        self._source = source
        self._device = device
        self._model: Any = None
        self._tokenizers: dict[str, Any] = {}

    def load(self, workers: int, threads: int) -> None:
        """Load the model, which takes about 1 s for the bundled one. Raises SttModelError if it cannot be loaded."""
        if self._model is not None:
            return
        try:
            from faster_whisper import WhisperModel  # noqa: PLC0415  optional, and slow to import
        except ImportError as error:
            raise SttModelError(
                "The package faster-whisper cannot be imported: {reason}.",
                fix="Install it with: pip install --require-hashes -r requirements/runtime.txt",
                reason=str(error),
            ) from error
        files: dict[str, bytes] | None = None
        name = self._source.name
        if isinstance(self._source, ModelDirectory):
            self._source.check()
            name = str(self._source.path)
        else:
            files = self._source.read()

        def load_on(device: Device) -> None:
            self._model = WhisperModel(
                name,
                device=device,
                compute_type=COMPUTE_TYPES[device],
                cpu_threads=threads,
                num_workers=workers,
                files=None if files is None else dict(files),  # it takes files out of the dictionary
            )

        on_gpu = self._device == "cuda" and self._loads_on_gpu(load_on)
        try:
            if not on_gpu:
                load_on("cpu")
        except (RuntimeError, ValueError, OSError) as error:
            raise SttModelError(
                "The Whisper model '{model}' cannot be loaded: {reason}.",
                fix="Check that it is a CTranslate2 Whisper model and that there is memory for it.",
                model=self._source.name,
                reason=str(error),
            ) from error
        logger.info("Loaded the Whisper model '%s' on the %s", self._source.name, "GPU" if on_gpu else "CPU")

    def _loads_on_gpu(self, load_on: Callable[[Device], None]) -> bool:
        """Load the model on the GPU; False, and nothing is loaded, if that or a first use of it fails."""
        try:
            load_on("cuda")
            # CTranslate2 loads cuBLAS when it is needed first, so a missing library shows only here.
            self.encode(np.zeros(RATE, np.float32), HYPOTHESIS_WINDOWS[0][1])
        except (RuntimeError, ValueError, OSError) as error:
            self._model = None
            logger.warning(
                "The embedded engine uses the CPU, because the GPU cannot be used: %s. Check that the image is the -cuda "
                "variant, that NVIDIA's driver is installed, and that the container may use the GPU.",
                error,
            )
            return False
        return True

    def unload(self) -> None:
        if self._model is not None:
            self._model.model.unload_model()
        self._model = None
        self._tokenizers.clear()

    def recogniser(self, language: str, hints: Hints) -> Recogniser:
        choice = LanguageChoice(self._detected, hints.spoken()) if language == AUTO else None
        return WhisperRecogniser(self, language, choice)

    def encode(self, samples: Samples, window_s: int) -> Any:
        """Encode the first `window_s` seconds of `samples`. May be called from any thread. Raises RuntimeError."""
        import ctranslate2  # noqa: PLC0415  comes with faster-whisper

        padded = np.zeros(window_s * RATE, np.float32)
        padded[: len(samples)] = samples[: len(padded)]
        mel = self._model.feature_extractor(padded)[None, :, : window_s * _MEL_RATE]
        return self._model.model.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mel, dtype=np.float32)))

    def detect(self, encoded: Any) -> Mapping[str, float]:
        """The probability of each of Whisper's languages: one step of the decoder. May be called from any thread."""
        return {token.strip("<|>"): probability for token, probability in self._model.model.detect_language(encoded)[0]}

    def generate(self, encoded: Any, language: str, duration_s: float) -> Decoded:
        """Decode encoded audio of `duration_s` seconds greedily. May be called from any thread. Raises RuntimeError."""
        tokenizer = self._tokenizer(language)
        start = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        limit = int(duration_s * TOKENS_PER_S) + TOKENS_SPARE
        result = self._model.model.generate(
            encoded,
            [start],
            beam_size=1,
            max_length=min(448, len(start) + limit),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = [token for token in result.sequences_ids[0] if token < tokenizer.eot]
        return Decoded(
            text=tokenizer.decode(tokens).strip(),
            score=result.scores[0],
            no_speech=result.no_speech_prob,
            cut_off=len(tokens) >= limit - 1,
        )

    def _tokenizer(self, language: str) -> Any:
        if language not in self._tokenizers:
            from faster_whisper.tokenizer import Tokenizer  # noqa: PLC0415

            self._tokenizers[language] = Tokenizer(
                self._model.hf_tokenizer, self._model.model.is_multilingual, task="transcribe", language=language
            )
        return self._tokenizers[language]


class WhisperRecogniser:
    """Decodes one speaker's utterances with Whisper; see `Recogniser`. With a `choice`, it decides on the language of each."""

    def __init__(self, engine: WhisperEngine, language: str, choice: LanguageChoice | None = None) -> None:
        self._engine = engine
        self._choice = choice
        self.language: str | None = language if choice is None else None
        self.restart()

    def restart(self) -> None:
        self._strayed = False
        if self._choice is not None:
            self._choice.end_utterance()

    def partial(self, samples: Samples, abandoned: Callable[[], bool]) -> str | None:
        windows = FINAL_WINDOWS if self._strayed else HYPOTHESIS_WINDOWS
        encoded = self._engine.encode(samples, window_s(len(samples), windows))
        if abandoned():
            return None
        language = self._language_of(encoded, samples, last=False)
        if language is None:
            return None
        decoded = self._engine.generate(encoded, language, len(samples) / RATE)
        if decoded.cut_off or guards.loops(decoded.text) or guards.echoes(decoded.text):
            self._strayed = True
            return None
        if self._no_speech(decoded.text, decoded):
            return None
        return " ".join(decoded.text.split()).rstrip(_LOOSE_END) or None

    def final(self, samples: Samples) -> str:
        decoded = self._decode(samples, window_s(len(samples), FINAL_WINDOWS))
        if decoded.cut_off or guards.loops(decoded.text) or guards.echoes(decoded.text):
            decoded = self._decode(samples, WHOLE_WINDOW)
        text = guards.unloop(decoded.text)
        return "" if self._no_speech(text, decoded) else text

    def _decode(self, samples: Samples, window_s: int) -> Decoded:
        encoded = self._engine.encode(samples, window_s)
        language = self._language_of(encoded, samples, last=True)
        assert language is not None
        return self._engine.generate(encoded, language, len(samples) / RATE)

    def _language_of(self, encoded: Any, samples: Samples, *, last: bool) -> str | None:
        """The language to decode in; None if it is too early to know. The audio is encoded only once for both."""
        if self._choice is not None:
            if not self._choice.decided:
                self._choice.observe(self._engine.detect(encoded), voiced_s(samples))
            self.language = self._choice.language(last=last)
        return self.language

    def _no_speech(self, text: str, decoded: Decoded) -> bool:
        found = guards.no_speech(text, decoded.score, decoded.no_speech)
        if found and self._choice is not None:
            self._choice.reject()
        return found


def window_s(samples: int, windows: Sequence[tuple[float, int]]) -> int:
    """The encoder window in seconds for so many samples. `windows` is sorted by length."""
    return next((window for longest, window in windows if samples <= longest * RATE), WHOLE_WINDOW)
