# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What the embedded backend needs of an engine. Blocking calls, made in worker threads; no asyncio here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

#: Sample rate in Hz that Whisper expects.
RATE = 16_000

#: Mono PCM, dtype float32, shape (samples,), 16 kHz, values in [-1, 1].
Samples: TypeAlias = npt.NDArray[np.float32]


class Recogniser(Protocol):
    """One speaker's view of an engine. Used by one thread at a time."""

    def partial(self, samples: Samples, abandoned: Callable[[], bool]) -> str | None:
        """The text so far of an utterance of which `samples` is all there is yet; None if there is nothing to show.

        Each call of one utterance has what the last one had, and more. `abandoned` tells, from any thread, that the
        answer is not wanted any more.
        """

    def final(self, samples: Samples) -> str:
        """The text of a whole utterance, empty if it holds no words."""

    def restart(self) -> None:
        """The next call is about another utterance."""


class Engine(Protocol):
    """A recogniser's weights, shared by all speakers."""

    name: str
    languages: frozenset[str]

    def load(self, workers: int, threads: int) -> None:
        """Load for `workers` decodes at once with `threads` cores each; does nothing if loaded. Raises SttModelError."""

    def unload(self) -> None:
        """Free the memory; no decode is under way."""

    def recogniser(self, language: str) -> Recogniser:
        """Raises SttAtCapacity where one more speaker would not fit."""
