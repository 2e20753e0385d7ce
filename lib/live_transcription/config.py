# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Engine settings: plain frozen values, built by `ex_app.settings.read` or by a test. Units stand in the names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from live_transcription.config_stt import ModalConfig, MoshiConfig
from live_transcription.types import Secret

#: The engines by the names that settings use, in the order that serves best.
ENGINES = ("modal", "moshi", "embedded")


@dataclass(frozen=True, slots=True)
class HpbConfig:
    """`url`: base or websocket URL of the HPB; `backend_url`: Nextcloud's base URL, as the HPB knows it.

    `verify_certificates=False` accepts any certificate of the HPB, and of no other server.
    """

    url: str
    internal_secret: Secret
    backend_url: str
    verify_certificates: bool = True


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """`queue_s`: audio held per speaker while speech-to-text lags; beyond it the oldest is dropped and counted.

    `gate=False` sends silence to the engines too, for engines that want to find the pauses themselves.
    """

    frame_ms: int = 80
    queue_s: float = 10.0
    gate: bool = True


@dataclass(frozen=True, slots=True)
class EmbeddedConfig:
    """The CPU engine. `model_directory`: a CTranslate2 Whisper model that an administrator prefers to the bundled base.

    `slots`: decodes under way at once; `threads`: cores that each may use. `partial_interval_s` grows under load.
    """

    model_directory: Path | None = None
    slots: int = 2
    threads: int = 1
    partial_interval_s: float = 0.5


@dataclass(frozen=True, slots=True)
class SttConfig:
    """The engines in `order`, best first, as far as they are configured; what `order` does not name is not used.

    `prewarm=False`: engines start at the first word instead of when a call is joined.
    `ring_s`: audio per speaker that is kept while a remote engine starts or is away, 120 s at most. `patience_s`: how long a
    remote engine may keep a speaker waiting before the next engine takes over in the meantime.
    """

    embedded: EmbeddedConfig | None = field(default_factory=EmbeddedConfig)
    modal: ModalConfig | None = None
    moshi: MoshiConfig | None = None
    ring_s: float = 120.0
    patience_s: float = 15.0
    order: tuple[str, ...] = ENGINES
    prewarm: bool = True


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """`languages`: offered languages, empty for all. `max_speakers`, `max_calls`: concurrent speech-to-text streams and calls.

    `max_memory_mb`: memory limit in MB, 0 for none; nothing is added beyond a share of it (`admission`).
    """

    hpb: HpbConfig
    default_language: str = "en"
    audio: AudioConfig = field(default_factory=AudioConfig)
    stt: SttConfig = field(default_factory=SttConfig)
    languages: tuple[str, ...] = ()
    max_speakers: int = 500
    max_calls: int = 500
    max_memory_mb: int = 0
    no_target_linger_s: float = 60.0
