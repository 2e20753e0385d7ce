# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The embedded engine's choice of device. No GPU is needed: faster-whisper is replaced by a stand-in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from live_transcription.config import Device
from live_transcription.errors import SttModelError
from live_transcription.stt.embedded.weights import ModelDirectory
from live_transcription.stt.embedded.whisper import WhisperEngine


class FakeWhisper:
    """faster-whisper's module. `fails`: the error that making a model, or encoding with it, raises on a GPU."""

    def __init__(self, *, making: Exception | None = None, encoding: Exception | None = None) -> None:
        self.made: list[tuple[str, str]] = []
        self.encoded = 0
        self._making = making
        self._encoding = encoding

    def WhisperModel(self, name: str, *, device: str, compute_type: str, **_: Any) -> Any:  # noqa: N802  faster-whisper's name
        self.made.append((device, compute_type))
        if device == "cuda" and self._making is not None:
            raise self._making

        def encode(_: Any) -> None:
            self.encoded += 1
            if device == "cuda" and self._encoding is not None:
                raise self._encoding

        def mel(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return np.zeros((80, len(samples) // 160), np.float32)

        return SimpleNamespace(feature_extractor=mel, model=SimpleNamespace(encode=encode, unload_model=lambda: None))


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeWhisper, Device], WhisperEngine]:
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.json"):
        (tmp_path / name).write_text("[]", encoding="utf-8")

    def make(module: FakeWhisper, device: Device) -> WhisperEngine:
        monkeypatch.setitem(sys.modules, "faster_whisper", module)
        return WhisperEngine(ModelDirectory(tmp_path), frozenset({"en"}), device)

    return make


Make = Callable[[FakeWhisper, Device], WhisperEngine]


def test_the_cpu_is_used_where_no_gpu_is_asked_for(engine: Make) -> None:
    module = FakeWhisper()
    engine(module, "cpu").load(1, 1)
    assert module.made == [("cpu", "int8")]


def test_a_gpu_is_used_once_an_encoding_on_it_has_succeeded(engine: Make, caplog: pytest.LogCaptureFixture) -> None:
    module = FakeWhisper()
    with caplog.at_level("INFO"):
        engine(module, "cuda").load(1, 1)
    assert (module.made, module.encoded) == ([("cuda", "auto")], 1)
    assert "on the GPU" in caplog.text


@pytest.mark.parametrize(
    "module",
    [
        FakeWhisper(making=RuntimeError("CUDA driver version is insufficient for CUDA runtime version")),
        FakeWhisper(making=ValueError("This CTranslate2 package was not compiled with CUDA support")),
        FakeWhisper(encoding=RuntimeError("Library libcublas.so.12 is not found or cannot be loaded")),
    ],
    ids=["no driver", "no CUDA", "no cuBLAS"],
)
def test_without_a_usable_gpu_the_cpu_serves_and_the_log_says_why(
    engine: Make, module: FakeWhisper, caplog: pytest.LogCaptureFixture
) -> None:
    engine(module, "cuda").load(1, 1)
    assert module.made == [("cuda", "auto"), ("cpu", "int8")]
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "uses the CPU" in record.message
    assert "-cuda" in record.message
    assert any(part in record.message for part in ("driver version is insufficient", "not compiled", "libcublas.so.12"))


def test_a_model_that_no_device_can_load_is_refused(engine: Make) -> None:
    module = FakeWhisper(making=RuntimeError("out of memory"))
    made = module.WhisperModel

    def fail_everywhere(name: str, **options: Any) -> Any:
        made(name, **options)
        raise RuntimeError("File model.bin is incomplete")

    module.WhisperModel = fail_everywhere  # type: ignore[method-assign]
    with pytest.raises(SttModelError, match="incomplete"):
        engine(module, "cuda").load(1, 1)
