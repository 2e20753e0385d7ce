# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The metrics of the remote engines, as Prometheus reads them."""

from __future__ import annotations

import asyncio

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from live_transcription.audio.frame_queue import FrameQueue
from live_transcription.observability import metrics
from live_transcription.speaker.captioner import Captioner
from live_transcription.speaker.transcriber import Transcriber
from live_transcription.stt.sockets import BilledSockets
from live_transcription.vad.gate import SilenceGate
from sandbox.virtual_clock import run
from tests.fakes.stt import FakeBackend


def test_open_connections_count_as_billed() -> None:
    async def scenario() -> None:
        sockets = BilledSockets()
        registry = CollectorRegistry()
        registry.register(sockets)

        def exposed() -> tuple[float | None, float | None]:
            return (
                registry.get_sample_value("live_transcription_stt_open_sockets"),
                registry.get_sample_value("live_transcription_stt_socket_seconds_total"),
            )

        with sockets.billed():
            await asyncio.sleep(10)
            with sockets.billed():
                await asyncio.sleep(5)
                assert exposed() == (2, 20.0)
            await asyncio.sleep(10)
            assert exposed() == (1, 30.0)
        await asyncio.sleep(10)
        assert exposed() == (0, 30.0)

    run(scenario())


def test_the_metrics_of_engines_keep_their_names_and_contain_no_room_or_person() -> None:
    allowed = {"le", "cause", "code", "engine", "kind", "outcome"}
    engines = [
        family
        for family in text_string_to_metric_families(metrics.render().decode())
        if family.name.startswith("live_transcription_stt_")
    ]
    assert all(set(sample.labels) <= allowed for family in engines for sample in family.samples)
    assert {family.name.removeprefix("live_transcription_stt_") for family in engines} >= {
        "words",
        "first_token_seconds",
        "flush_seconds",
        "reconnects",
        "failures",
        "engine_switches",
        "ignored_replies",
        "dropped_audio_seconds",
        "replayed_audio_seconds",
        "socket_seconds",
        "open_sockets",
    }


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
