# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app's metrics for Prometheus, in one registry per process instead of the client library's global one.

Labels are bounded and never name rooms, sessions or people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from functools import partial
from types import MappingProxyType

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from live_transcription.observability.conditions import RULES
from live_transcription.status import Buckets, CaptionStatistics, GpuStatus, ServiceStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Seconds; fine around the targets (first word <= 1.2 s, last word <= 1.5 s), coarse beyond.
_LATENCY_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0)

registry = CollectorRegistry()
_NAMESPACE = "live_transcription"  # every name begins with it
_gauge = partial(Gauge, namespace=_NAMESPACE, registry=registry)
_counter = partial(Counter, namespace=_NAMESPACE, registry=registry)
_histogram = partial(Histogram, namespace=_NAMESPACE, registry=registry, buckets=_LATENCY_BUCKETS)

calls = _gauge("calls", "Calls that are transcribed now")
speakers = _gauge("speakers", "Publishers whose audio is received now")
targets = _gauge("targets", "Sessions that get captions now")
speakers_waiting = _gauge("speakers_waiting", "Publishers that speak and are not transcribed for lack of a stream")
speakers_encrypted = _gauge("speakers_encrypted", "Publishers whose audio is end-to-end encrypted and not transcribed")
slots = _gauge("slots", "Publishers with a slot, the right to a stream")
untranscribed_seconds = _counter("untranscribed_seconds", "Speech that was not transcribed for lack of a stream")
calls_refused = _counter("calls_refused", "Refused requests for captions in another call, by code", ["code"])
modal_gpu_seconds_today = _gauge("modal_gpu_seconds_today", "Estimated GPU time on Modal since midnight UTC")
modal_gpu_seconds_limit = _gauge("modal_gpu_seconds_limit", "Daily limit of the GPU time on Modal; 0: no limit")
modal_sockets = _gauge("modal_sockets", "Connections to Modal that are open now")
modal_sockets_limit = _gauge("modal_sockets_limit", "Limit of open connections to Modal; 0: no limit")
tasks = _gauge("tasks", "Tasks of the event loop, waiting ones included")
resident_memory = _gauge("resident_memory_bytes", "Memory of this process")
memory_used = _gauge("memory_used_bytes", "Memory in use as counted by the limit that is reached first")
memory_limit = _gauge("memory_limit_bytes", "The memory limit that is reached first; 0: unknown")
loop_lag_seconds = _gauge("loop_lag_seconds", "Smoothed lag of the event loop")
interval_stretch = _gauge("interval_stretch", "Factor for the interval between a speaker's messages; above 1 under load")
condition = _gauge("condition", "1 while this condition exists, by code", ["code"])
conditions = _counter("conditions", "Times that a condition has begun, by code", ["code"])

log_lines_suppressed = _counter("log_lines_suppressed", "Repeated log lines that were not written", ["level"])

captions_sent = _counter("captions_sent", "Caption messages sent")
captions_repeated = _counter("captions_repeated", "Caption messages sent again after a break, for lack of a pong")
captions_waiting_bytes = _gauge("captions_waiting_bytes", "Caption text that waits for the floor or for signaling")
translations = _counter(
    "translations", "Captions sent to readers of another language, by content: translation or original", ["outcome"]
)
translations_in_flight = _gauge("translations_in_flight", "Requests for a translation that the provider works on")
words_committed = _counter("words_committed", "Words committed from speech-to-text")
words_disagreed = _counter("words_disagreed", "Committed words that differ in the final text of the utterance")
words_dropped = _counter("words_dropped", "Words dropped because they waited too long, or too many waited")
signaling_frames_dropped = _counter("signaling_frames_dropped", "Frames dropped because the queue to the HPB was full")

frames_dropped = _counter("frames_dropped", "Audio frames dropped because speech-to-text lagged")
media_messages_rejected = _counter("media_messages_rejected", "Rejected offers and candidates", ["kind", "reason"])
datagrams_rejected = _counter("datagrams_rejected", "Datagrams dropped at the media sockets, by reason", ["reason"])
packets_lost = _counter("packets_lost", "RTP packets that never arrived")
packets_late = _counter("packets_late", "RTP packets that arrived too late")
packets_undecodable = _counter("packets_undecodable", "Packets that libopus refused")

signaling_reconnects = _counter("signaling_reconnects", "Signaling sessions after a drop, by outcome", ["outcome"])
speaker_reconnects = _counter("speaker_reconnects", "Subscriptions that were opened again, by error code", ["code"])
stt_streams = _gauge("stt_streams", "Open speech-to-text streams, by engine", ["engine"])
stt_errors = _counter("stt_errors", "Failed speech-to-text streams, by engine and error code", ["engine", "code"])
stt_words = _counter("stt_words", "Words from remote engines")
stt_reconnects = _counter("stt_reconnects", "Connections that were opened again, by cause", ["cause"])
stt_failures = _counter("stt_failures", "Connections that failed or could not be opened, by error code", ["code"])
stt_engine_failures = _counter("stt_engine_failures", "Failures of an engine, by engine and error code", ["engine", "code"])
stt_engine_switches = _counter("stt_engine_switches", "Changes of the serving engine, by the new engine", ["engine"])
stt_ignored_replies = _counter("stt_ignored_replies", "Replies that made no sense, by kind", ["kind"])
stt_silenced_frames = _counter("stt_silenced_frames", "Frames with samples that are not finite numbers, sent as silence")
stt_dropped_audio_seconds = _counter("stt_dropped_audio_seconds", "Audio that no server received")
stt_replayed_audio_seconds = _counter("stt_replayed_audio_seconds", "Audio that was sent more than once")
stt_gate_seconds = _counter("stt_gate_seconds", "Audio at the silence gate: passed on, or saved (never sent)", ["outcome"])

join_seconds = _histogram("join_seconds", "From finding a speaker in the call to their first audio")
first_word_seconds = _histogram("first_word_seconds", "From speech onset to the first committed word, without floor_wait")
last_word_seconds = _histogram("last_word_seconds", "From the end of speech to the last committed word, without floor_wait")
stt_first_token_seconds = _histogram("stt_first_token_seconds", "From a connection's first audio to its first text")
stt_flush_seconds = _histogram("stt_flush_seconds", "From the end of speech to its last word, per utterance")
translation_seconds = _histogram("translation_seconds", "Duration of successful requests for a translation")
floor_wait_seconds = _histogram("floor_wait_seconds", "How long words waited for the floor while another speaker had it")


def render() -> bytes:
    """All metrics in Prometheus' text format; its media type is `CONTENT_TYPE`."""
    return generate_latest(registry)


def expose(status: ServiceStatus, gpu: GpuStatus | None = None) -> bytes:
    """All metrics in Prometheus' text format, current values from `status` and `gpu` (None: Modal is not used)."""
    gpu = gpu or GpuStatus(0.0, 0, 0, 0)
    modal_gpu_seconds_today.set(60 * gpu.minutes_today)
    modal_gpu_seconds_limit.set(60 * gpu.minutes_limit)
    modal_sockets.set(gpu.sockets)
    modal_sockets_limit.set(gpu.sockets_limit)
    calls.set(status.calls)
    speakers.set(status.speakers)
    speakers_waiting.set(status.speakers_waiting)
    speakers_encrypted.set(status.speakers_encrypted)
    slots.set(status.slots)
    targets.set(status.targets)
    tasks.set(_tasks())
    resident_memory.set(status.memory.resident)
    memory_used.set(status.memory.used or 0)
    memory_limit.set(status.memory.limit or 0)
    loop_lag_seconds.set(status.load.lag_s)
    interval_stretch.set(status.load.interval_stretch)
    codes = {each.code for each in status.conditions}
    for code in RULES:
        condition.labels(code).set(code in codes)
    return render()


def caption_statistics() -> CaptionStatistics:
    return CaptionStatistics(
        words=int(total_of(words_committed)),
        first_word=buckets_of(first_word_seconds),
        last_word=buckets_of(last_word_seconds),
        translation=buckets_of(translation_seconds),
        translations_in_flight=int(value_of(translations_in_flight)),
        untranslated=int(total_of(translations, but={"outcome": ("translated", "same language")})),
    )


def total_of(counter: Counter, but: Mapping[str, Collection[str]] = MappingProxyType({})) -> float:
    """The sum over all labels, without those that have one of the values in `but`."""
    samples = [s for metric in counter.collect() for s in metric.samples if s.name.endswith("_total")]
    return sum(s.value for s in samples if not any(s.labels.get(label) in values for label, values in but.items()))


def value_of(gauge: Gauge) -> float:
    """The value of a gauge without labels."""
    (metric,) = gauge.collect()
    return metric.samples[0].value


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
