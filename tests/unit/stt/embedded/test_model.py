# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The engine with its real weights, on short clips."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from live_transcription.config import EmbeddedConfig
from live_transcription.languages import AUTO, LANGUAGES
from live_transcription.stt.base import Flushed, Hypothesis, SttBackend, SttEvent, SttStream
from live_transcription.stt.embedded import weights
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.stt.embedded.whisper import WhisperEngine
from live_transcription.types import SAMPLE_RATE, Frame
from live_transcription.vad.detector import voice_activity_detector
from live_transcription.vad.gate import Flush, SilenceGate, Speech
from sandbox import recording
from sandbox.word_error_rate import word_errors
from tests.unit.stt.fake_engine import frames

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        not weights.bundled().installed, reason="Whisper's weights (requirements/weights.txt) are not installed"
    ),
]


@pytest.fixture
async def backend() -> AsyncIterator[SttBackend]:
    backend = EmbeddedBackend(
        WhisperEngine(weights.bundled(), frozenset({"en", "fr"})), EmbeddedConfig(hypothesis_interval_s=0.2)
    )
    yield backend
    await backend.aclose()


async def read(stream: SttStream) -> list[SttEvent]:
    async with asyncio.timeout(60):
        return [event async for event in stream.events()]


async def transcribe(backend: SttBackend, language: str, samples: Frame, *, gated: bool = True) -> list[SttEvent]:
    """As a speaker does, but faster than real time where the engine is: partials are as it has time for."""
    gate = SilenceGate(voice_activity_detector())
    async with backend.open_stream(language) as stream, asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(read(stream))
        for frame in frames(samples):
            for action in gate.push(frame) if gated else [Speech([frame])]:
                if isinstance(action, Speech):
                    for item in action.frames:
                        await stream.send(item)
                elif isinstance(action, Flush):
                    await stream.flush()
            await asyncio.sleep(0.002)
        if not gated:
            await stream.flush()
        await stream.end()
    return reader.result()


def text(events: list[SttEvent]) -> str:
    return " ".join(event.text for event in events if isinstance(event, Hypothesis) and event.final)


async def test_a_clip_of_each_language_is_understood(backend: SttBackend) -> None:
    for name, most in (("en-short", 0.08), ("fr-short", 0.2)):
        clip = recording.load(name)
        events = await transcribe(backend, clip.language, clip.pcm(SAMPLE_RATE))
        assert word_errors(clip.text, text(events), clip.language).rate <= most
        assert isinstance(events[-1], Flushed)


async def test_an_engine_that_is_to_use_a_gpu_transcribes_with_and_without_one() -> None:
    engine = WhisperEngine(weights.bundled(), frozenset({"en"}), "cuda")
    backend = EmbeddedBackend(engine, EmbeddedConfig(hypothesis_interval_s=0.2))
    clip = recording.load("en-short")
    events = await transcribe(backend, "en", clip.pcm(SAMPLE_RATE))
    assert word_errors(clip.text, text(events), "en").rate <= 0.08
    await backend.aclose()


async def test_silence_noise_and_hum_give_no_text_even_without_the_gate(backend: SttBackend) -> None:
    noise = np.random.default_rng(5)
    seconds = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    sounds = {
        "silence": np.zeros(3 * SAMPLE_RATE),
        "faint noise": noise.normal(0, 0.003, 3 * SAMPLE_RATE),
        "noise": noise.normal(0, 0.05, 3 * SAMPLE_RATE),
        "hum": 0.1 * np.sin(2 * np.pi * 120 * seconds),
        "clicks": (noise.random(3 * SAMPLE_RATE) > 0.9997) * 0.8,
    }
    for language in ("en", "fr"):
        for name, samples in sounds.items():
            events = await transcribe(backend, language, samples.astype(np.float32), gated=False)
            assert events == [Flushed()], name


async def test_a_clip_without_a_pause_at_its_end_loses_no_word(backend: SttBackend) -> None:
    clip = recording.load("en-short")
    spoken = clip.pcm(SAMPLE_RATE)[: round((clip.utterances[0].end_s + 0.05) * SAMPLE_RATE)]
    async with backend.open_stream("en") as stream:
        for frame in frames(spoken):
            await stream.send(frame)
        await stream.end()
        events = await read(stream)
    assert word_errors(clip.text, text(events), "en").rate <= 0.08


async def test_an_automatic_language_follows_the_speaker_and_no_short_word_changes_it() -> None:
    english, french, novel = (recording.load(name) for name in ("en-short", "fr-conference", "en-novel"))
    # Half a second of English comes within the French.
    short = novel.utterances[0]
    said = [
        (english, english.utterances[0].start_s, english.utterances[0].end_s, "en"),
        *((french, each.start_s, each.end_s, "fr") for each in french.utterances[:2]),
        (novel, short.start_s, short.start_s + 0.6, "fr"),
        (french, french.utterances[2].start_s, french.utterances[2].end_s, "fr"),
        *((novel, each.start_s, each.end_s, "en") for each in novel.utterances[:2]),
    ]
    backend = EmbeddedBackend(WhisperEngine(weights.bundled(), frozenset(LANGUAGES)), EmbeddedConfig(hypothesis_interval_s=0.2))
    found: list[list[str | None]] = []
    async with backend.open_stream(AUTO) as stream, asyncio.timeout(120):
        events = stream.events()
        for clip, start_s, end_s, _ in said:
            for frame in frames(clip.pcm(SAMPLE_RATE)[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]):
                await stream.send(frame)
                await asyncio.sleep(0.01)
            await stream.flush()
            found.append([])
            async for event in events:
                if isinstance(event, Flushed):
                    break
                if isinstance(event, Hypothesis) and event.text:
                    found[-1].append(event.language)
    await backend.aclose()
    assert [languages[-1] if languages else expected for languages, (*_, expected) in zip(found, said, strict=True)] == [
        expected for *_, expected in said
    ]
    assert all(language in LANGUAGES for languages in found for language in languages)
    assert sum(map(bool, found)) >= len(said) - 1  # the short one may have no words
