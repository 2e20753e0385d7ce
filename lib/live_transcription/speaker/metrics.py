# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A Prometheus metric of where the speakers' audio came from, read from the pipelines at each scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from live_transcription.audio.pipeline import PipelineStatistics
from live_transcription.observability import metrics
from live_transcription.types import SAMPLE_RATE


class AudioCollector(Collector):
    """The sum over present and past speakers."""

    def __init__(self) -> None:
        self._present: dict[int, PipelineStatistics] = {}
        self._past: Counter[str] = Counter()

    @contextmanager
    def counting(self, statistics: PipelineStatistics) -> Iterator[None]:
        """Include the statistics in the sum: within the block as they grow, and afterwards as they were at its end."""
        self._present[id(statistics)] = statistics
        try:
            yield
        finally:
            del self._present[id(statistics)]
            self._past.update(_samples(statistics))

    def collect(self) -> Iterator[Metric]:
        samples = Counter(self._past)
        for statistics in self._present.values():
            samples.update(_samples(statistics))
        family = CounterMetricFamily(
            "live_transcription_audio_seconds",
            "Audio of speakers, by source; silence needs no decoder",
            labels=["source"],
        )
        for source in ("decoded", "recovered", "concealed", "silence"):
            family.add_metric([source], samples[source] / SAMPLE_RATE)
        yield family


def _samples(statistics: PipelineStatistics) -> dict[str, int]:
    return {
        "decoded": statistics.decoded_samples,
        "recovered": statistics.recovered_samples,
        "concealed": statistics.concealed_samples,
        "silence": statistics.silence_samples + statistics.omitted_samples,
    }


collector = AudioCollector()
metrics.registry.register(collector)
