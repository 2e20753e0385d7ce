# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The figures of the last ten minutes."""

from __future__ import annotations

import pytest

from ex_app.history import SAMPLES, History, quantile
from live_transcription.observability import metrics
from live_transcription.status import CaptionStatistics, EngineState, SpeechStatus
from live_transcription.translation.lane import Outcome
from live_transcription.types import Language, TranslationLanguages
from tests.ex_app.fakes import FakeEngine, fake_status

EMPTY = ((0.5, 0.0), (1.0, 0.0), (float("inf"), 0.0))


def test_quantiles_equal_those_of_prometheus() -> None:
    after = ((0.5, 2.0), (1.0, 4.0), (float("inf"), 4.0))
    assert quantile(EMPTY, EMPTY, 0.5) is None
    assert quantile(EMPTY, after, 0.5) == 0.5
    assert quantile(EMPTY, after, 0.75) == pytest.approx(0.75)
    assert quantile(EMPTY, ((0.5, 0.0), (1.0, 0.0), (float("inf"), 3.0)), 0.5) == 1.0
    assert quantile(after, after, 0.95) is None


def test_only_observations_within_the_history_count() -> None:
    now = [0.0]
    monitor = History(FakeEngine(), lambda: now[0])
    assert monitor.describe()["latency"]["last"] == {"p50": None, "p95": None}
    metrics.last_word_seconds.observe(100)
    monitor.sample()
    for _ in range(6):
        now[0] += 10
        metrics.last_word_seconds.observe(0.7)
        metrics.words_committed.inc(3)
        monitor.sample()
    told = monitor.describe()
    assert 0.6 <= told["latency"]["last"]["p50"] <= 0.8
    assert told["words_per_minute"] == 18.0
    assert len(told["history"]["last_p50"]) == 6
    for _ in range(200):
        now[0] += 10
        monitor.sample()
    assert len(monitor.describe()["history"]["last_p50"]) == SAMPLES - 1
    assert monitor.describe()["history"]["last_p50"][-1] is None


def test_minutes_of_gpu_and_minutes_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    engine = FakeEngine(speech=SpeechStatus((EngineState("modal", "up"),), 1, 120.0, 0, 0.0))
    monkeypatch.setattr(engine, "status", lambda: fake_status(speakers=2))
    monitor = History(engine, lambda: now[0])
    for _ in range(31):
        monitor.sample()
        now[0] += 10
    told = monitor.describe()
    assert (told["gpu_minutes"], told["saved_minutes"]) == (2.0, 8.0)
    engine.speech = SpeechStatus((EngineState("whisper", "up"),), 0, 0.0, 0, 0.0)
    assert monitor.describe()["gpu_minutes"] is None


def test_translations_are_shown_while_they_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, found = FakeEngine(), CaptionStatistics(0, (), ())
    monkeypatch.setattr(engine, "caption_statistics", lambda: found)
    monitor = History(engine, lambda: 0.0)
    assert monitor.describe()["translation"] is None
    language = {"fr": Language("fr", "French", "Français")}
    engine.pairs = TranslationLanguages(language, language)
    assert monitor.describe()["translation"] == {"in_flight": 0, "p50": None, "untranslated": 0}
    found = CaptionStatistics(0, (), (), ((0.5, 0.0), (1.0, 10.0), (float("inf"), 10.0)), 3, 2)
    assert monitor.describe()["translation"] == {"in_flight": 3, "p50": 0.75, "untranslated": 2}


def test_captions_without_a_translation_in_time_are_counted() -> None:
    before = metrics.caption_statistics().untranslated
    for outcome in Outcome:
        metrics.translations.labels(outcome.value).inc()
    assert metrics.caption_statistics().untranslated == before + 3  # late, failed, queue full
