# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Whisper on CTranslate2, made quick enough for live captions on a CPU.

Whisper encodes 30 s whatever it is given. Here it encodes a shorter window, which costs as much less. The window has to
outlast the audio by some seconds: without silence after it Whisper says sentences twice or runs on.

A partial starts from the words that the two partials before it agree on and decodes only what follows, so that it costs
less and does not flicker. A final is decoded afresh.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from live_transcription.errors import SttModelError
from live_transcription.stt.embedded import guards
from live_transcription.stt.embedded.recogniser import RATE, Recogniser, Samples
from live_transcription.stt.embedded.weights import BundledModel, ModelDirectory

logger = logging.getLogger(__name__)

#: Seconds of audio up to which each window (seconds that the encoder sees) serves; beyond the last it sees all 30 s.
PARTIAL_WINDOWS = ((3.0, 7), (8.5, 10), (14.5, 15))
FINAL_WINDOWS = ((8.5, 10), (14.5, 15))
WHOLE_WINDOW = 30

#: Most tokens that a second of speech takes, and some for the start. A text that reaches the limit is a loop.
TOKENS_PER_S = 9
TOKENS_SPARE = 12

#: Mel frames per second.
_MEL_RATE = 100
#: How byte-level BPE marks a token that starts with a space.
_SPACE = "\u0120"


@dataclass(frozen=True, slots=True)
class Decoded:
    """`tokens`: with the prefix. `score`: mean log-probability of the tokens after it. `cut_off`: the limit was reached."""

    tokens: tuple[int, ...]
    text: str = field(repr=False)
    score: float
    no_speech: float
    cut_off: bool


class WhisperEngine:
    """One model for all speakers; CTranslate2 runs as many decodes at once as it has workers, on one copy of the weights."""

    name = "whisper"

    def __init__(self, source: ModelDirectory | BundledModel, languages: frozenset[str]) -> None:
        self.languages = languages if source.multilingual else languages & {"en"}
        self._source = source
        self._model: Any = None
        self._tokenizers: dict[str, Any] = {}

    def load(self, workers: int, threads: int) -> None:
        """About 1 s for the bundled model. Raises SttModelError."""
        if self._model is not None:
            return
        try:
            from faster_whisper import WhisperModel  # noqa: PLC0415  optional, and slow to import
        except ImportError as error:
            raise SttModelError("faster-whisper is not installed.", fix="Install the extra 'embedded'.") from error
        files: dict[str, bytes] | None = None
        name = self._source.name
        if isinstance(self._source, ModelDirectory):
            self._source.check()
            name = str(self._source.path)
        else:
            files = self._source.read()
        try:
            self._model = WhisperModel(
                name, device="cpu", compute_type="int8", cpu_threads=threads, num_workers=workers, files=files
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise SttModelError(
                f"The Whisper model '{self._source.name}' cannot be loaded: {error}.",
                fix="Check that it is a CTranslate2 Whisper model and that there is memory for it.",
            ) from error
        logger.info("Loaded the Whisper model '%s'", self._source.name)

    def unload(self) -> None:
        if self._model is not None:
            self._model.model.unload_model()
        self._model = None
        self._tokenizers.clear()

    def recogniser(self, language: str) -> Recogniser:
        return WhisperRecogniser(self, language)

    def decode(self, samples: Samples, language: str, window_s: int, prefix: Sequence[int] = ()) -> Decoded:
        """Greedy decoding of at most `window_s` seconds that follow on `prefix`. Any thread. Raises RuntimeError."""
        import ctranslate2  # noqa: PLC0415  comes with faster-whisper

        tokenizer = self._tokenizer(language)
        padded = np.zeros(window_s * RATE, np.float32)
        padded[: len(samples)] = samples[: len(padded)]
        mel = self._model.feature_extractor(padded)[:, : window_s * _MEL_RATE]
        encoded = self._model.model.encode(
            ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None], dtype=np.float32))
        )
        start = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        limit = int(len(samples) / RATE * TOKENS_PER_S) + TOKENS_SPARE
        result = self._model.model.generate(
            encoded,
            [[*start, *prefix]],
            beam_size=1,
            max_length=min(448, len(start) + limit),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = (*prefix, *(token for token in result.sequences_ids[0] if token < tokenizer.eot))
        return Decoded(
            tokens=tokens,
            text=tokenizer.decode(tokens).strip(),
            score=result.scores[0],
            no_speech=result.no_speech_prob,
            cut_off=len(tokens) >= limit - 1,
        )

    def starts_word(self, token: int) -> bool:
        piece = self._model.hf_tokenizer.id_to_token(token)
        return piece is not None and piece.startswith(_SPACE)

    def _tokenizer(self, language: str) -> Any:
        if language not in self._tokenizers:
            from faster_whisper.tokenizer import Tokenizer  # noqa: PLC0415

            self._tokenizers[language] = Tokenizer(
                self._model.hf_tokenizer, self._model.model.is_multilingual, task="transcribe", language=language
            )
        return self._tokenizers[language]


class WhisperRecogniser:
    """One speaker's; see `Recogniser`."""

    speculative = True

    def __init__(self, engine: WhisperEngine, language: str) -> None:
        self._engine = engine
        self._language = language
        self.restart()

    def restart(self) -> None:
        self._last: tuple[int, ...] = ()
        self._agreed: tuple[int, ...] = ()
        self._strayed = False

    def partial(self, samples: Samples) -> str | None:
        windows = FINAL_WINDOWS if self._strayed else PARTIAL_WINDOWS
        decoded = self._engine.decode(samples, self._language, window_s(len(samples), windows), self._agreed)
        if decoded.cut_off or guards.loops(decoded.text) or guards.echoes(decoded.text):
            self.restart()
            self._strayed = True
            return None
        if not self._agreed and guards.no_speech(decoded.text, decoded.score, decoded.no_speech):
            return None
        if self._agreed and decoded.tokens in (self._agreed, self._last):
            # Nothing new: either there is nothing, or the words agreed on lead into a dead end.
            self._agreed = ()
        else:
            self._agreed = self._agree(decoded.tokens)
        self._last = decoded.tokens
        return decoded.text.rstrip(" .,;:!?…-") or None

    def final(self, samples: Samples) -> str:
        decoded = self._engine.decode(samples, self._language, window_s(len(samples), FINAL_WINDOWS))
        if decoded.cut_off or guards.loops(decoded.text) or guards.echoes(decoded.text):
            decoded = self._engine.decode(samples, self._language, WHOLE_WINDOW)
        text = guards.unloop(decoded.text)
        return "" if guards.no_speech(text, decoded.score, decoded.no_speech) else text

    def _agree(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """What the last hypothesis and this one begin with in common, without the last word of it."""
        common = 0
        for before, now in zip(self._last, tokens, strict=False):
            if before != now:
                break
            common += 1
        while common and not self._engine.starts_word(tokens[common - 1]):
            common -= 1
        return max(tokens[: max(0, common - 1)], self._agreed, key=len)


def window_s(samples: int, windows: Sequence[tuple[float, int]]) -> int:
    """Seconds that the encoder has to see for so many samples."""
    return next((window for longest, window in windows if samples <= longest * RATE), WHOLE_WINDOW)
