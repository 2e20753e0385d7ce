# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The connections to remote engines and their duration: what a serverless GPU bills, shared by the sessions of a container."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from live_transcription.observability import metrics


class BilledSockets(Collector):
    """Counts the connections of this process, under all settings so far."""

    def __init__(self) -> None:
        #: Number of connections that are open now.
        self.open = 0
        # Seconds of closed ones, less the opening times of open ones: `seconds` adds the time of each open one.
        self._seconds = 0.0

    @contextmanager
    def billed(self) -> Iterator[None]:
        """A connection is open within this block."""
        self.open += 1
        self._seconds -= _now()
        try:
            yield
        finally:
            self.open -= 1
            self._seconds += _now()

    @property
    def seconds(self) -> float:
        """Seconds of connections so far."""
        return self._seconds + self.open * _now()

    def collect(self) -> Iterator[Metric]:
        text = "Open connections times their duration: what a serverless GPU bills, shared by the sessions of a container"
        yield CounterMetricFamily("live_transcription_stt_socket_seconds", text, self.seconds)
        yield GaugeMetricFamily("live_transcription_stt_open_sockets", "Connections that are open now", self.open)


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # a scrape in another thread; asyncio's clock is the monotonic one
        return time.monotonic()


sockets = BilledSockets()
metrics.registry.register(sockets)
