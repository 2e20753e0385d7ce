# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The metrics of the remote engines, as Prometheus reads them."""

from __future__ import annotations

import asyncio
import gc

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from live_transcription.audio.frame_queue import FrameQueue
from live_transcription.config import SttConfig
from live_transcription.observability import metrics
from live_transcription.speaker.captioner import Captioner
from live_transcription.speaker.transcriber import Transcriber
from live_transcription.stt.engines import SttRegistry
from live_transcription.stt.metrics import SttCollector, SttStatistics
from live_transcription.vad.gate import SilenceGate
from tests.fakes.stt import FakeBackend


def exposed(collector: SttCollector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def test_all_statistics_are_exposed() -> None:
    collector, statistics = SttCollector(), SttStatistics()
    collector.attach(statistics)
    statistics.words = 7
    statistics.reconnects["stt_starting"] = 2
    statistics.failures["stt_unavailable"] = 3
    statistics.switches["whisper"] = 1
    statistics.ignored["garbage"] = 4
    statistics.dropped_s = 1.5
    statistics.replayed_s = 2.5
    registry = exposed(collector)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"live_transcription_stt_{name}", labels)

    assert value("words_total") == 7
    assert value("reconnects_total", cause="stt_starting") == 2
    assert value("failures_total", code="stt_unavailable") == 3
    assert value("engine_switches_total", engine="whisper") == 1
    assert value("ignored_replies_total", kind="garbage") == 4
    assert value("dropped_audio_seconds_total") == 1.5
    assert value("replayed_audio_seconds_total") == 2.5
    assert value("socket_seconds_total") == 0
    assert value("open_sockets") == 0


async def test_open_connections_count_as_billed() -> None:
    collector, statistics = SttCollector(), SttStatistics()
    collector.attach(statistics)
    statistics.socket_opened(asyncio.get_running_loop().time() - 60.0)
    registry = exposed(collector)
    assert registry.get_sample_value("live_transcription_stt_open_sockets") == 1
    billed = registry.get_sample_value("live_transcription_stt_socket_seconds_total")
    assert billed is not None
    assert 60.0 <= billed < 70.0


def test_the_statistics_of_replaced_engines_stay_in_the_sums() -> None:
    collector, old, new = SttCollector(), SttStatistics(), SttStatistics()
    collector.attach(old)
    collector.attach(new)
    old.words, new.words = 10, 5
    registry = exposed(collector)
    assert registry.get_sample_value("live_transcription_stt_words_total") == 15
    collector.detach(old)
    collector.detach(old)
    del old
    gc.collect()
    assert registry.get_sample_value("live_transcription_stt_words_total") == 15


async def test_the_metrics_contain_the_engines_and_no_room_or_person() -> None:
    registry = SttRegistry(SttConfig(embedded=None))
    before = metrics.registry.get_sample_value("live_transcription_stt_words_total")
    assert before is not None
    registry.statistics.words += 2
    assert metrics.registry.get_sample_value("live_transcription_stt_words_total") == before + 2
    await registry.aclose()
    assert metrics.registry.get_sample_value("live_transcription_stt_words_total") == before + 2
    allowed = {"le", "cause", "code", "engine", "kind", "outcome"}
    for family in text_string_to_metric_families(metrics.render().decode()):
        if family.name.startswith("live_transcription_stt_"):
            assert all(set(sample.labels) <= allowed for sample in family.samples)


async def test_the_gate_counts_the_audio_that_it_saved() -> None:
    class Never:
        def probability(self, frame: object) -> float:
            return 0.0

        def reset(self) -> None:
            pass

    def saved() -> float:
        return metrics.registry.get_sample_value("live_transcription_stt_gate_seconds_total", {"outcome": "saved"}) or 0.0

    before = saved()
    frames = FrameQueue(30.0)
    captioner = Captioner("speaker-1", "en", lambda caption: None, lambda utterance: None)
    transcriber = Transcriber(frames, SilenceGate(Never()), FakeBackend(), captioner, "en", on_error=lambda error: None)
    for _ in range(100):
        frames.put(np.zeros(1920, np.float32))
    transcriber.close()
    await transcriber.run()
    assert round(saved() - before, 6) == 8.0
