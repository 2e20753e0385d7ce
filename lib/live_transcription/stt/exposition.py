# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The statistics of the remote engines as Prometheus metrics, read whenever somebody asks; nothing is counted twice for it.

Settings may replace the engines while the app runs: what the old ones have counted stays in the sums. Labels are causes, codes
and engines, never rooms or people.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from weakref import WeakSet

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from live_transcription.observability import metrics
from live_transcription.stt.metrics import Latencies, SttStatistics

_PREFIX = "live_transcription_stt_"


class SttCollector(Collector):
    """The sum of all statistics that were attached; one that is detached has counted its last."""

    def __init__(self) -> None:
        self._attached: WeakSet[SttStatistics] = WeakSet()
        self._past = SttStatistics()

    def attach(self, statistics: SttStatistics) -> None:
        self._attached.add(statistics)

    def detach(self, statistics: SttStatistics) -> None:
        """Harmless for one that is not attached."""
        if statistics in self._attached:
            self._attached.discard(statistics)
            self._past.add(statistics, _now())

    def collect(self) -> Iterator[Metric]:
        total, now = SttStatistics(), _now()
        for statistics in (self._past, *self._attached):
            total.add(statistics, now)
        yield _counter("words", "Words that remote engines have said", total.words)
        yield _histogram("first_token_seconds", "From a connection's first audio to its first text", total.first_token_s)
        yield _histogram("flush_seconds", "From the end of a speech to the last of its words, per utterance", total.flush_s)
        yield _labelled("reconnects", "Connections opened again, by cause", "cause", total.reconnects)
        yield _labelled("failures", "Connections that failed or could not be had, by error code", "code", total.failures)
        yield _labelled("engine_switches", "Changes of the engine that serves, by the new one", "engine", total.switches)
        yield _labelled("ignored_replies", "Replies that made no sense, by kind", "kind", total.ignored)
        yield _counter("dropped_audio_seconds", "Audio that no server ever heard", total.dropped_s)
        yield _counter("replayed_audio_seconds", "Audio that was sent more than once", total.replayed_s)
        yield _counter(
            "socket_seconds",
            "Open connections times their time: what a serverless GPU bills, shared by the sessions of a container",
            total.socket_s(now),
        )
        open_sockets = sum(statistics.open_sockets for statistics in self._attached)
        yield GaugeMetricFamily(f"{_PREFIX}open_sockets", "Connections that are open now", open_sockets)


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(_PREFIX + name, help_text, value)


def _labelled(name: str, help_text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, help_text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _histogram(name: str, help_text: str, latencies: Latencies) -> Metric:
    buckets = [(str(bound), float(count)) for bound, count in latencies.buckets()]
    return HistogramMetricFamily(_PREFIX + name, help_text, [*buckets, ("+Inf", float(latencies.count))], latencies.sum_s)


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


collector = SttCollector()
metrics.registry.register(collector)
