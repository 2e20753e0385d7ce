# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The status page's figures for the last ten minutes: captions, latencies and GPU time."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ex_app.engine import Engine
from live_transcription.status import Buckets

#: Seconds between two samples, and number of samples kept.
SAMPLE_S = 10.0
SAMPLES = 61
#: Number of samples behind each percentile, since a single sample has too few captions.
WINDOW = 6
_SHARES = (("p50", 0.5), ("p95", 0.95))


@dataclass(frozen=True, slots=True)
class Sample:
    """`first`, `last`: cumulative histogram buckets (upper bound in seconds, count); `words`: committed words so far."""

    at: float
    words: float
    speakers: int
    first: Buckets
    last: Buckets


class History:
    """Samples the engine's status. `now`: seconds of any monotonic clock."""

    def __init__(self, engine: Engine, now: Callable[[], float]) -> None:
        self._engine = engine
        self._now = now
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)
        self._speaking_s = 0.0

    async def run(self) -> None:
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_S)

    def sample(self) -> None:
        status, statistics = self._engine.status(), self._engine.caption_statistics()
        now = self._now()
        if self._samples:
            last = self._samples[-1]
            self._speaking_s += (now - last.at) * (last.speakers + status.speakers) / 2
        self._samples.append(Sample(now, statistics.words, status.speakers, statistics.first_word, statistics.last_word))

    def describe(self) -> dict[str, Any]:
        """Plain values for the page; times in seconds, None if unknown."""
        status, speech = self._engine.status(), self._engine.speech_status()
        samples = list(self._samples)
        remote = any(engine.name in ("modal", "moshi") for engine in speech.engines)
        return {
            "problem": status.problem or "",
            "calls": status.calls,
            "speakers": status.speakers,
            "speakers_waiting": status.speakers_waiting,
            "conditions": [asdict(condition) for condition in status.conditions],
            "targets": status.targets,
            "captions": status.captions_sent,
            "words_per_minute": _rate(samples[-WINDOW - 1 :][0], samples[-1]) if samples else 0.0,
            "latency": {
                which: {name: _latency(samples[0], samples[-1], which, share) if samples else None for name, share in _SHARES}
                for which in ("first", "last")
            },
            "history": {
                "step_s": SAMPLE_S,
                **{
                    f"last_{name}": [
                        _latency(samples[max(0, index - WINDOW)], samples[index], "last", share)
                        for index in range(1, len(samples))
                    ]
                    for name, share in _SHARES
                },
                "words": [_rate(a, b) for a, b in itertools.pairwise(samples)],
            },
            "engines": [asdict(engine) for engine in speech.engines],
            "translation": self._describe_translation(),
            "gpu_minutes": round(speech.socket_s / 60, 1) if remote else None,
            "saved_minutes": round(max(0.0, self._speaking_s - speech.socket_s) / 60, 1) if remote else None,
            "open_connections": speech.open_sockets,
            "modal": None if speech.gpu is None else asdict(speech.gpu),
            "reconnects": speech.reconnects,
            "dropped_s": round(speech.dropped_s, 1),
            "memory_bytes": status.memory.resident,
            "memory_used_bytes": status.memory.used,
            "memory_limit_bytes": status.memory.limit,
            "last_errors": [{"at": e.at, "code": e.code, "message": e.message} for e in reversed(status.last_errors)],
        }

    def _describe_translation(self) -> dict[str, Any] | None:
        """Translations since the start; None while none are offered and there were none."""
        found = self._engine.caption_statistics()
        median = quantile(tuple((bound, 0.0) for bound, _ in found.translation), found.translation, 0.5)
        if not self._engine.translation_languages().targets and median is None and not found.untranslated:
            return None
        return {
            "in_flight": found.translations_in_flight,
            "p50": None if median is None else round(median, 2),
            "untranslated": found.untranslated,
        }


def quantile(before: Buckets, after: Buckets, share: float) -> float | None:
    """The quantile of the observations between two readings, linear within a bucket like Prometheus' `histogram_quantile`.

    None if there are none.
    """
    counts = [(bound, count - earlier) for (bound, count), (_, earlier) in zip(after, before, strict=True)]
    total = counts[-1][1] if counts else 0
    if total <= 0:
        return None
    wanted, lower, below = share * total, 0.0, 0.0
    for bound, count in counts:
        if count >= wanted:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (wanted - below) / (count - below) if count > below else bound
        lower, below = bound, count
    return lower


def _rate(before: Sample, after: Sample) -> float:
    """Committed words per minute."""
    return round(60 * max(0.0, after.words - before.words) / max(1e-3, after.at - before.at), 1)


def _latency(before: Sample, after: Sample, which: str, share: float) -> float | None:
    """Percentile of the `first` or `last` latency between two samples, in seconds."""
    value = quantile(getattr(before, which), getattr(after, which), share)
    return None if value is None else round(value, 2)
