# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The service's status, as plain values. Messages and fixes are texts that can be translated (`texts.Text`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from live_transcription.texts import Text, join


@dataclass(frozen=True, slots=True)
class RecordedError:
    """`at`: seconds since the epoch."""

    at: float
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A problem that prevents captions, or may do so soon. `code` is one of `observability.conditions.RULES`.

    `message` says what happens and why, `fix` what an administrator can do. Neither names a room, a session or a person.
    The settings page translates `template`, if there is one, and inserts `values` into it.
    """

    code: str
    message: str
    fix: str
    template: str = ""
    values: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, code: str, template: str, fix: str, *, addition: str = "", **values: str) -> Condition:
        """With `values` inserted into `template`. `addition`: further sentences, which the page does not show."""
        return cls(code, join(Text(template, **values), addition), Text(fix), template, tuple(values.items()))


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something that captions depend on, with its last outcome (`observability.health`).

    `name`: `nextcloud`, `hpb`, `media` (audio from the media server), `turn`, or `engine:` and the name of an engine.
    `state`: `unknown` (never tried with the current settings), `ok`, `warning` or `failed`. `code`: of the error or condition.
    `cause` says what happened and why, `fix` what an administrator can do. `at`: seconds since the epoch, None if unknown;
    for an engine, when its state changed.
    """

    name: str
    state: str = "unknown"
    code: str = ""
    cause: str = ""
    fix: str = ""
    at: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """Bytes. `resident`: this process. `used` of `limit`: the limit that is reached first. `source` says whose limit it is
    (`container`, `machine`, `process`, `setting`). None and "" if no limit is known.
    """

    resident: int = 0
    used: int | None = None
    limit: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class LoadStatus:
    """`lag_s`: smoothed lag of the event loop. `interval_stretch`: factor for the interval between a speaker's captions."""

    lag_s: float = 0.0
    interval_stretch: float = 1.0


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """`speakers`: publishers whose audio is received. `slots`: those with a slot. `speakers_waiting`: those that speak without
    a slot, because of one of the `conditions`. `speakers_encrypted`: those whose audio is end-to-end encrypted. `problem`: why
    the settings cannot be used, if so. `dependencies`: what the engine depends on, that is all but Nextcloud.
    """

    calls: int
    speakers: int
    targets: int
    captions_sent: int
    engines: tuple[str, ...]
    last_errors: tuple[RecordedError, ...]
    problem: str | None
    speakers_waiting: int = 0
    conditions: tuple[Condition, ...] = ()
    memory: MemoryStatus = field(default_factory=MemoryStatus)
    load: LoadStatus = field(default_factory=LoadStatus)
    slots: int = 0
    speakers_encrypted: int = 0
    dependencies: tuple[Dependency, ...] = ()


#: Cumulative counts of a histogram by upper bound in seconds, the last one infinite.
Buckets: TypeAlias = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class CaptionStatistics:
    """Since the start. `words`: committed words. `first_word`, `last_word`: seconds from the onset of speech to the first
    committed word, and from its end to the last. `translation`: duration of requests for a translation, of which the provider
    works on `translations_in_flight` now. `untranslated`: captions that readers of a translation got as they were said, since
    there was none in time.
    """

    words: int
    first_word: Buckets
    last_word: Buckets
    translation: Buckets = ()
    translations_in_flight: int = 0
    untranslated: int = 0


@dataclass(frozen=True, slots=True)
class EngineState:
    """One speech-to-text engine: `state` as in `stt.fallback.health.State`.

    `problem` and `fix` are for an administrator, `code` is that of the error.
    """

    name: str
    state: str
    problem: str = ""
    code: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """Estimated GPU time on Modal on one day. `day`: days since the epoch (UTC)."""

    day: int
    seconds: float


@dataclass(frozen=True, slots=True)
class GpuStatus:
    """Today's (UTC) estimated GPU minutes on Modal and its open connections, with their limits (0: none)."""

    minutes_today: float
    minutes_limit: int
    sockets: int
    sockets_limit: int


@dataclass(frozen=True, slots=True)
class SpeechStatus:
    """`socket_s`: seconds of connections to remote engines so far, which a serverless GPU bills. `gpu`: None without Modal."""

    engines: tuple[EngineState, ...]
    open_sockets: int
    socket_s: float
    reconnects: int
    dropped_s: float
    gpu: GpuStatus | None = None


@dataclass(frozen=True, slots=True)
class CallSnapshot:
    """A call as plain values, from which it can be restored. `targets`: Nextcloud's session id and user id, None for guests.

    `translations`: the session ids of targets whose captions are translated, and the language's id.
    """

    room_token: str
    language: str
    targets: tuple[tuple[str, str | None], ...] = field(repr=False)
    translations: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class HpbReport:
    """Version and features of a high-performance backend (HPB) that accepted a hello."""

    version: str
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IceReport:
    """Result of a test of a STUN or TURN server. `kind`: `stun` or `turn`. `problem`: empty if the server works.

    `address`: the address that the server returned.
    """

    kind: str
    server: str
    address: str
    problem: str = ""
