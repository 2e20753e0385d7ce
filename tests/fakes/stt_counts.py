# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What the process has counted about remote engines since a test began."""

from __future__ import annotations

from collections import Counter

from prometheus_client import Counter as Metric

from live_transcription.observability import metrics


class SttCounts:
    """The counts since this object was made."""

    def __init__(self) -> None:
        self._before = {name: _values(counter) for name, counter in _COUNTERS.items()}

    @property
    def words(self) -> float:
        return self._total("words")

    @property
    def dropped_s(self) -> float:
        return self._total("dropped_s")

    @property
    def replayed_s(self) -> float:
        return self._total("replayed_s")

    @property
    def reconnects(self) -> Counter[str]:
        return self._since("reconnects")

    @property
    def failures(self) -> Counter[str]:
        return self._since("failures")

    @property
    def switches(self) -> Counter[str]:
        return self._since("switches")

    @property
    def ignored(self) -> Counter[str]:
        return self._since("ignored")

    def _since(self, name: str) -> Counter[str]:
        """The counts by label, without zeros."""
        before = self._before[name]
        since = {label: int(value - before.get(label, 0.0)) for label, value in _values(_COUNTERS[name]).items()}
        return Counter({label: count for label, count in since.items() if count})

    def _total(self, name: str) -> float:
        return sum(_values(_COUNTERS[name]).values()) - sum(self._before[name].values())


_COUNTERS = {
    "words": metrics.stt_words,
    "dropped_s": metrics.stt_dropped_audio_seconds,
    "replayed_s": metrics.stt_replayed_audio_seconds,
    "reconnects": metrics.stt_reconnects,
    "failures": metrics.stt_failures,
    "switches": metrics.stt_engine_switches,
    "ignored": metrics.stt_ignored_replies,
}


def _values(counter: Metric) -> dict[str, float]:
    samples = [sample for family in counter.collect() for sample in family.samples if sample.name.endswith("_total")]
    return {"".join(sample.labels.values()): sample.value for sample in samples}
