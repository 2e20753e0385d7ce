# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which embedded engine serves, by what is installed and configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from live_transcription.config import EmbeddedConfig, SttConfig
from live_transcription.errors import SttModelError
from live_transcription.stt import engines
from live_transcription.stt.embedded import weights
from live_transcription.stt.engines import SttRegistry


def test_a_broken_directory_is_not_replaced_behind_the_administrators_back(tmp_path: Path) -> None:
    stt = SttRegistry(SttConfig(embedded=EmbeddedConfig(model_directory=tmp_path / "nowhere")))
    assert stt.engines() == ("whisper",)


def test_without_weights_pocketsphinx_serves_english(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pocketsphinx")
    monkeypatch.setattr(weights, "find", lambda _: None)
    stt = SttRegistry(SttConfig())
    assert stt.engines() == ("pocketsphinx",)
    assert list(stt.languages()) == ["en"]


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
