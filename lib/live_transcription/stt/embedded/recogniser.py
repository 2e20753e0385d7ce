# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The interface of an engine of the embedded backend. Its calls block, so they run in worker threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from live_transcription.stt.base import Hints

#: Sample rate of Whisper, in Hz.
RATE = 16_000

#: Mono PCM, dtype float32, shape (samples,), 16 kHz, values in [-1, 1].
Samples: TypeAlias = npt.NDArray[np.float32]


class Recogniser(Protocol):
    """Decodes one speaker's utterances. Only one thread uses it at a time.

    `language` is that of the last text, None if it is the stream's.
    """

    language: str | None

    def partial(self, samples: Samples, abandoned: Callable[[], bool]) -> str | None:
        """Decode an utterance that continues. `samples` is its audio so far, including that of the previous call.

        Returns None if there is no text to show. `abandoned` may be called from any thread. It returns True when the
        result is no longer needed.
        """

    def final(self, samples: Samples) -> str:
        """Decode a whole utterance. The text is empty if no words are found."""

    def restart(self) -> None:
        """Forget the utterance: the next call belongs to another one."""


class Engine(Protocol):
    """An engine with its weights, which all speakers share."""

    name: str
    languages: frozenset[str]

    def load(self, workers: int, threads: int) -> None:
        """Load the weights for `workers` concurrent decodes with `threads` cores each, unless they are loaded.

        Raises SttModelError if they cannot be loaded.
        """

    def unload(self) -> None:
        """Free the memory. No decode may be running."""

    def recogniser(self, language: str, hints: Hints) -> Recogniser:
        """Return a recogniser for one speaker. Raises SttAtCapacity if the engine supports no further speaker."""
