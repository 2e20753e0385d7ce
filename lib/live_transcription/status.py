# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What the service tells about itself, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RecordedError:
    """`at`: seconds since the epoch."""

    at: float
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    calls: int
    speakers: int
    targets: int
    captions_sent: int
    engines: tuple[str, ...]
    last_errors: tuple[RecordedError, ...]
    problem: str | None


@dataclass(frozen=True, slots=True)
class EngineState:
    """One speech-to-text engine: `state` as in `stt.backend_health.State`, `problem` for an administrator."""

    name: str
    state: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SpeechStatus:
    """`socket_s`: seconds of connections to remote engines so far, which a serverless GPU bills."""

    engines: tuple[EngineState, ...]
    open_sockets: int
    socket_s: float
    reconnects: int
    dropped_s: float


@dataclass(frozen=True, slots=True)
class CallSnapshot:
    """A call as plain values, to be taken up again; `targets`: Talk's session id and the user's, None for guests."""

    room_token: str
    language: str
    targets: tuple[tuple[str, str | None], ...] = field(repr=False)
