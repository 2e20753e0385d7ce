# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The service can be moved to another process: its arguments and results are plain values (docs/scaling.md)."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

from ex_app.engine import Engine
from live_transcription.call.call import Call
from live_transcription.config import EmbeddedConfig, EngineConfig, HpbConfig, ModalConfig, MoshiConfig, SttConfig
from live_transcription.errors import CallUnavailable, ConfigurationError, LiveTranscriptionError, SignalingRefused
from live_transcription.service import TranscriptionService
from live_transcription.status import (
    CallSnapshot,
    CaptionStatistics,
    Condition,
    Dependency,
    EngineState,
    GpuStatus,
    GpuUsage,
    HpbReport,
    IceReport,
    LoadStatus,
    MemoryStatus,
    RecordedError,
    ServiceStatus,
    SpeechStatus,
)
from live_transcription.translation.translator import Translator
from live_transcription.types import Frame, IceServer, Language, Secret, TranslationLanguages
from tests.unit.plain_values import from_json, not_plain, to_json

#: What a process brings with it when its service is made; none of it is asked for from outside.
LOCAL = {"registry", "wall_clock", "read_memory", "read_descriptors"}
#: What the service asks of the other side: the servers that Talk names now, and translations.
ASKED = {"ice_servers", "translator", "transcripts"}

METHODS = [name for name in vars(TranscriptionService) if not name.startswith("_")]

CONFIG = EngineConfig(
    hpb=HpbConfig("wss://signaling.example.com", Secret("secret"), "https://cloud.example.com", verify_certificates=False),
    stt=SttConfig(
        embedded=EmbeddedConfig(Path("/models/whisper")),
        modal=ModalConfig("workspace", Secret("key"), Secret("hidden")),
        moshi=MoshiConfig("wss://moshi.example.com"),
        order=("moshi", "embedded"),
    ),
    languages=("en", "fr"),
)

VALUES: list[tuple[Any, Any]] = [
    (EngineConfig | ConfigurationError, CONFIG),
    (EngineConfig | ConfigurationError, ConfigurationError("LT_HPB_URL", "It is not set.", fix="Set it.")),
    (HpbConfig, CONFIG.hpb),
    (SttConfig | None, CONFIG.stt),
    (float | None, 2.5),
    (Sequence[CallSnapshot], (CallSnapshot("room", "en", (("nc1", "user"), ("nc2", None)), (("nc1", "fr"),)),)),
    (Sequence[IceServer], (IceServer(("turn:turn.example.com",), "name", Secret("word")), IceServer(("stun:s.example.com",)))),
    (HpbReport, HpbReport("2.0.4", ("mcu",))),
    (tuple[tuple[IceReport, ...], int], ((IceReport("stun", "s.example.com:3478", "192.0.2.1:4711"),), 2)),
    (Mapping[str, Language], {"ar": Language("ar", "Arabic", "العربية", " ", rtl=True)}),
    (
        TranslationLanguages,
        TranslationLanguages(
            {"en": Language("en", "English", "English")}, {"fr": Language("fr", "French", "Français")}
        ),
    ),
    (
        SpeechStatus,
        SpeechStatus((EngineState("modal", "down", "It is down."),), 1, 2.5, 3, 4.5, GpuStatus(1.5, 600, 2, 8)),
    ),
    (GpuUsage, GpuUsage(20_785, 1234.5)),
    (
        CaptionStatistics,
        CaptionStatistics(3, ((0.5, 1.0), (float("inf"), 2.0)), ((float("inf"), 0.0),), ((float("inf"), 1.0),), 4, 5),
    ),
    (
        ServiceStatus,
        ServiceStatus(
            1, 2, 3, 4, ("whisper",), (RecordedError(1.5, "stt", "It failed."),), None, 5,
            (Condition("memory", "Short.", "More."),), MemoryStatus(1, 2, 3, "container"), LoadStatus(0.1, 2.0), 6, 2,
            (Dependency("hpb", "ok", at=1.5), Dependency("turn", "warning", "ice", "No.", "Fix.", 2.5)),
        ),
    ),
    (bytes, b"live_transcription_calls 1.0\n"),
]  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_arguments_and_results_are_plain_values(name: str) -> None:
    method = getattr(TranscriptionService, name)
    assert inspect.isfunction(method), "a property would have to ask the other process at each look"
    for parameter, annotation in get_type_hints(method).items():
        assert not (why := not_plain(annotation, events=parameter != "return")), f"{name}({parameter}): {why}"


def test_the_constructor_takes_plain_values_local_tools_and_one_question() -> None:
    hints = get_type_hints(TranscriptionService.__init__)
    assert hints.keys() - LOCAL - ASKED == {"config", "stt", "return"}, "where would a service in another process have it from?"
    assert not not_plain(hints["config"])
    assert not not_plain(hints["stt"])
    assert hints["ice_servers"] == Callable[[], Awaitable[Sequence[IceServer]]]
    assert not not_plain(Sequence[IceServer])
    for method in (Translator.languages, Translator.translate):
        assert not [name for name, annotation in get_type_hints(method).items() if not_plain(annotation)]


def test_the_app_uses_only_public_methods_of_the_service() -> None:
    used = {name for name in vars(Engine) if not name.startswith("_")}
    assert used <= set(METHODS)
    for name in used:
        ours = inspect.signature(getattr(TranscriptionService, name)).parameters
        theirs = inspect.signature(getattr(Engine, name)).parameters
        assert list(ours) == list(theirs), name
        assert inspect.iscoroutinefunction(getattr(TranscriptionService, name)) == inspect.iscoroutinefunction(
            getattr(Engine, name)
        )


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=lambda value: type(value).__name__)
def test_values_survive_pickling(annotation: Any, value: Any) -> None:
    assert not not_plain(annotation)
    for copy in (
        pickle.loads(pickle.dumps(value)),
        from_json(annotation, json.loads(json.dumps(to_json(value), allow_nan=False))),
    ):
        if isinstance(value, LiveTranscriptionError):
            assert (type(copy), str(copy), vars(copy)) == (type(value), str(value), vars(value))
        else:
            assert copy == value


def test_every_value_of_the_contract_is_tried() -> None:
    """Each return value and parameter that is more than text has an example above."""
    tried = {str(annotation) for annotation, _ in VALUES} | {str(annotation) for annotation in (str, str | None, type(None))}
    tried |= {str(tuple[CallSnapshot, ...]), str(Frame)}
    for name in METHODS:
        for parameter, annotation in get_type_hints(getattr(TranscriptionService, name)).items():
            if parameter not in ("connected", "opened", "heard"):
                assert str(annotation) in tried, f"{name}({parameter})"


def test_frames_survive_pickling() -> None:
    frame: Frame = np.linspace(-1, 1, 1920, dtype=np.float32)
    for copy in (pickle.loads(pickle.dumps(frame)), from_json(Frame, json.loads(json.dumps(to_json(frame))))):
        assert copy.dtype == np.float32
        assert np.array_equal(copy, frame)


def errors(base: type[LiveTranscriptionError] = LiveTranscriptionError) -> list[type[LiveTranscriptionError]]:
    found = [base] + [kind for each in base.__subclasses__() for kind in errors(each)]
    return sorted({kind for kind in found if kind.__module__.startswith("live_transcription.")}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", errors(), ids=lambda kind: kind.__name__)
def test_errors_survive_pickling(kind: type[LiveTranscriptionError]) -> None:
    if kind is ConfigurationError:
        error: LiveTranscriptionError = ConfigurationError("LT_HPB_URL", "It is not set.", fix="Set it.")
    elif kind is SignalingRefused:
        error = SignalingRefused("No.", fix="Never.", reason="invalid_token")
    else:
        error = kind("It failed.", fix="Repair it.")
    for copy in (pickle.loads(pickle.dumps(error)), from_json(kind, json.loads(json.dumps(to_json(error))))):
        assert (type(copy), str(copy), vars(copy)) == (kind, str(error), vars(error))
        assert (copy.template, copy.fix_template, copy.values) == (error.template, error.fix_template, error.values)


async def test_real_answers_match_their_annotations() -> None:
    async def no_servers() -> Sequence[IceServer]:
        return ()

    async with TranscriptionService(
        ConfigurationError("LT_HPB_URL", "It is not set."), no_servers, wall_clock=time.time
    ) as service:
        for name in ("status", "speech_status", "caption_statistics", "export", "languages", "metrics"):
            annotation = get_type_hints(getattr(TranscriptionService, name))["return"]
            answer = getattr(service, name)()
            assert from_json(annotation, json.loads(json.dumps(to_json(answer), allow_nan=False))) == answer, name
        with pytest.raises(CallUnavailable, match="It is not set"):
            await service.enable("room", "nc1")


@dataclass
class Loose:
    text: str


@dataclass(frozen=True)
class Leaky:
    call: Call


@pytest.mark.parametrize(
    "annotation",
    [Call, Loose, Leaky, Any, object, dict, tuple, asyncio.Task[None], Callable[[], None], Sequence[Call], Call | None,
     Mapping[str, Any], tuple[Leaky, ...]],
    ids=str,
)  # fmt: skip
def test_annotations_that_would_leak_an_object_are_found(annotation: Any) -> None:
    assert not_plain(annotation)


def test_a_callable_is_an_event_only_if_it_returns_none() -> None:
    assert not not_plain(Callable[[str], None], events=True)
    assert not_plain(Callable[[str], str], events=True)
    assert not_plain(Callable[[Call], None], events=True)
    assert not_plain(Callable[..., None], events=True)
