# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app's metrics for Prometheus, in one registry per process instead of the client library's global one.

Labels are bounded and never name rooms, sessions or people.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Seconds; fine where captions are judged (first word <= 1.2 s, last word <= 1.5 s), coarse beyond.
_LATENCY_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0)

registry = CollectorRegistry()

calls = Gauge("live_transcription_calls", "Calls that are transcribed now", registry=registry)
speakers = Gauge("live_transcription_speakers", "Publishers whose audio is received now", registry=registry)
targets = Gauge("live_transcription_targets", "Sessions that get captions now", registry=registry)
speakers_waiting = Gauge(
    "live_transcription_speakers_waiting",
    "Publishers that speak and are not transcribed because no stream is free",
    registry=registry,
)
slots = Gauge("live_transcription_slots", "Publishers with a slot, the right to a speech-to-text stream", registry=registry)
untranscribed_seconds = Counter(
    "live_transcription_untranscribed_seconds", "Speech that was not transcribed because no stream was free", registry=registry
)
calls_refused = Counter(
    "live_transcription_calls_refused", "Refused requests for captions in a further call, by code", ["code"],
    registry=registry,
)  # fmt: skip
tasks = Gauge("live_transcription_tasks", "Tasks of the event loop, waiting ones included", registry=registry)
resident_memory = Gauge("live_transcription_resident_memory_bytes", "Memory of this process", registry=registry)
memory_used = Gauge(
    "live_transcription_memory_used_bytes", "Memory as the limit counts it that is reached first", registry=registry
)
memory_limit = Gauge(
    "live_transcription_memory_limit_bytes", "The memory limit that is reached first; 0: none is known", registry=registry
)
loop_lag_seconds = Gauge("live_transcription_loop_lag_seconds", "How late the event loop runs, smoothed", registry=registry)
interval_stretch = Gauge(
    "live_transcription_interval_stretch",
    "Factor for the interval between a speaker's messages; above 1 under load",
    registry=registry,
)
condition = Gauge("live_transcription_condition", "1 while this condition exists, by code", ["code"], registry=registry)
conditions = Counter("live_transcription_conditions", "Times that a condition has begun, by code", ["code"], registry=registry)

log_lines_suppressed = Counter(
    "live_transcription_log_lines_suppressed", "Repeated log lines that were not written", ["level"], registry=registry
)

captions_sent = Counter("live_transcription_captions_sent", "Caption messages sent", registry=registry)
captions_repeated = Counter(
    "live_transcription_captions_repeated",
    "Caption messages sent again after a break because nothing proved that the server had read them",
    registry=registry,
)
captions_waiting_bytes = Gauge(
    "live_transcription_captions_waiting_bytes", "Caption text that waits for the floor or for signaling", registry=registry
)
words_committed = Counter("live_transcription_words_committed", "Words committed from speech-to-text", registry=registry)
words_disagreed = Counter(
    "live_transcription_words_disagreed",
    "Committed words that differ in the final text of the utterance",
    registry=registry,
)
words_dropped = Counter(
    "live_transcription_words_dropped",
    "Words dropped because they waited too long or too many were waiting",
    registry=registry,
)
signaling_frames_dropped = Counter(
    "live_transcription_signaling_frames_dropped", "Frames that the full queue to the HPB did not take", registry=registry
)

frames_dropped = Counter(
    "live_transcription_frames_dropped", "Audio frames dropped because speech-to-text lagged", registry=registry
)
media_messages_rejected = Counter(
    "live_transcription_media_messages_rejected",
    "Offers and candidates rejected because participants forged them or the app did not request them",
    ["kind", "reason"],
    registry=registry,
)
datagrams_rejected = Counter(
    "live_transcription_datagrams_rejected", "Datagrams dropped at the media sockets, by reason", ["reason"],
    registry=registry,
)  # fmt: skip
packets_lost = Counter("live_transcription_packets_lost", "RTP packets that never came", registry=registry)
packets_late = Counter("live_transcription_packets_late", "RTP packets that came too late to be used", registry=registry)
packets_undecodable = Counter("live_transcription_packets_undecodable", "Packets that libopus refused", registry=registry)

signaling_reconnects = Counter(
    "live_transcription_signaling_reconnects", "Signaling sessions after a drop, by outcome", ["outcome"], registry=registry
)
speaker_reconnects = Counter(
    "live_transcription_speaker_reconnects", "Subscriptions that were opened again, by error code", ["code"], registry=registry
)
stt_streams = Gauge("live_transcription_stt_streams", "Open speech-to-text streams, by engine", ["engine"], registry=registry)
stt_errors = Counter(
    "live_transcription_stt_errors", "Failed speech-to-text streams, by engine and error code", ["engine", "code"],
    registry=registry,
)  # fmt: skip
stt_gate_seconds = Counter(
    "live_transcription_stt_gate_seconds",
    "Audio at the silence gate, by outcome: passed on, or saved (never sent)",
    ["outcome"],
    registry=registry,
)

join_seconds = Histogram(
    "live_transcription_join_seconds",
    "From finding a speaker in the call to their first audio",
    buckets=_LATENCY_BUCKETS,
    registry=registry,
)
first_word_seconds = Histogram(
    "live_transcription_first_word_seconds",
    "From speech onset to the first committed word, without the wait for another speaker",
    buckets=_LATENCY_BUCKETS,
    registry=registry,
)
last_word_seconds = Histogram(
    "live_transcription_last_word_seconds",
    "From the end of speech to the last committed word, without the wait for another speaker",
    buckets=_LATENCY_BUCKETS,
    registry=registry,
)
floor_wait_seconds = Histogram(
    "live_transcription_floor_wait_seconds",
    "How long words waited for another speaker before they got the floor",
    buckets=_LATENCY_BUCKETS,
    registry=registry,
)


def render() -> bytes:
    """All metrics in Prometheus' text format; its media type is `CONTENT_TYPE`."""
    return generate_latest(registry)
