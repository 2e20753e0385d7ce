# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Statistics of the remote engines, and their exposition as Prometheus metrics.

Settings may replace the engines while the app runs; the counts of replaced engines remain in the sums. Labels are causes, codes
and engines, never rooms or people.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from weakref import WeakSet

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from live_transcription.observability import metrics

_PREFIX = "live_transcription_stt_"


@dataclass(slots=True, eq=False, weakref_slot=True)
class SttStatistics:
    """Totals of all streams that share the object.

    `reconnects`: by cause (an error code, `rotation`). `dropped_s`: seconds of audio that no server received. `replayed_s`:
    seconds of audio that were sent more than once. `ignored`: replies that made no sense, by kind.
    """

    words: int = 0
    reconnects: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    switches: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    dropped_s: float = 0.0
    replayed_s: float = 0.0
    open_sockets: int = 0
    # Seconds of closed sockets, less the opening times of open ones: `socket_s` adds the time of each open one.
    _socket_s: float = 0.0

    def socket_opened(self, now: float) -> None:
        """Count a connection that is billed by time."""
        self.open_sockets += 1
        self._socket_s -= now

    def socket_closed(self, now: float) -> None:
        self.open_sockets -= 1
        self._socket_s += now

    def socket_s(self, now: float) -> float:
        """Seconds of open sockets so far: what a serverless GPU bills, shared by the sessions of a container."""
        return self._socket_s + self.open_sockets * now

    def add(self, other: SttStatistics, now: float) -> None:
        """Add another object's totals up to now. Its open sockets are added as seconds, not as open sockets."""
        self.words += other.words
        self.reconnects.update(other.reconnects)
        self.failures.update(other.failures)
        self.switches.update(other.switches)
        self.ignored.update(other.ignored)
        self.dropped_s += other.dropped_s
        self.replayed_s += other.replayed_s
        self._socket_s += other.socket_s(now)


class SttCollector(Collector):
    """Exposes the sum of all attached statistics, and of those that were attached before."""

    def __init__(self) -> None:
        self._attached: WeakSet[SttStatistics] = WeakSet()
        self._past = SttStatistics()

    def attach(self, statistics: SttStatistics) -> None:
        self._attached.add(statistics)

    def detach(self, statistics: SttStatistics) -> None:
        """Keep the totals in the sum; later changes do not count. No effect on statistics that are not attached."""
        if statistics in self._attached:
            self._attached.discard(statistics)
            self._past.add(statistics, _now())

    def collect(self) -> Iterator[Metric]:
        total, now = SttStatistics(), _now()
        for statistics in (self._past, *self._attached):
            total.add(statistics, now)
        yield _counter("words", "Words from remote engines", total.words)
        yield _labelled("reconnects", "Connections that were opened again, by cause", "cause", total.reconnects)
        yield _labelled("failures", "Connections that failed or could not be opened, by error code", "code", total.failures)
        yield _labelled("engine_switches", "Changes of the serving engine, by the new engine", "engine", total.switches)
        yield _labelled("ignored_replies", "Replies that made no sense, by kind", "kind", total.ignored)
        yield _counter("dropped_audio_seconds", "Audio that no server received", total.dropped_s)
        yield _counter("replayed_audio_seconds", "Audio that was sent more than once", total.replayed_s)
        yield _counter(
            "socket_seconds",
            "Open connections times their duration: what a serverless GPU bills, shared by the sessions of a container",
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


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


collector = SttCollector()
metrics.registry.register(collector)
