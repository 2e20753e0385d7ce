# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""This process's metrics as plain values."""

from __future__ import annotations

import asyncio

from prometheus_client import Counter, Histogram

from live_transcription.observability import metrics
from live_transcription.observability.conditions import RULES
from live_transcription.status import Buckets, CaptionStatistics, ServiceStatus


def expose(status: ServiceStatus) -> bytes:
    """All metrics in Prometheus' text format, current values from `status`."""
    metrics.calls.set(status.calls)
    metrics.speakers.set(status.speakers)
    metrics.speakers_waiting.set(status.speakers_waiting)
    metrics.slots.set(status.slots)
    metrics.targets.set(status.targets)
    metrics.tasks.set(_tasks())
    metrics.resident_memory.set(status.memory.resident)
    metrics.memory_used.set(status.memory.used or 0)
    metrics.memory_limit.set(status.memory.limit or 0)
    metrics.loop_lag_seconds.set(status.load.lag_s)
    metrics.interval_stretch.set(status.load.interval_stretch)
    codes = {condition.code for condition in status.conditions}
    for code in RULES:
        metrics.condition.labels(code).set(code in codes)
    return metrics.render()


def caption_statistics() -> CaptionStatistics:
    return CaptionStatistics(
        words=int(total_of(metrics.words_committed)),
        first_word=buckets_of(metrics.first_word_seconds),
        last_word=buckets_of(metrics.last_word_seconds),
    )


def total_of(counter: Counter) -> float:
    """The sum over all labels."""
    return sum(s.value for metric in counter.collect() for s in metric.samples if s.name.endswith("_total"))


def buckets_of(histogram: Histogram) -> Buckets:
    """Cumulative counts by upper bound, the last one infinite."""
    (metric,) = histogram.collect()
    return tuple((float(s.labels["le"]), s.value) for s in metric.samples if s.name.endswith("_bucket"))


def _tasks() -> int:
    """Number of tasks of the running event loop; 0 if none runs."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0
