# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Why Kyutai's proxy on Modal closed a session. Pure.

It closes everything with code 1000 and an empty reason, so what happened before has to tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from live_transcription.errors import SttAtCapacity, SttError, SttExpired, SttUnavailable

#: The proxy drops a session after 30 s without audio.
IDLE_S = 25.0
#: The function's timeout is 30 minutes.
EXPIRY_S = 29 * 60.0
#: A full model server is noticed right after the first audio.
CAPACITY_S = 3.0


class CloseReason(Enum):
    """What to do: nothing; reopen at the next speech; back off; reopen at once; reconnect with backoff."""

    DONE = "done"
    IDLE = "idle"
    CAPACITY = "capacity"
    EXPIRED = "expired"
    RECONNECT = "reconnect"


@dataclass(frozen=True, slots=True)
class ClosedSession:
    """What is known of a session at its close. Ages in seconds; None: no audio was ever sent. `code` None: no close frame."""

    code: int | None
    closed_by_us: bool
    age_s: float
    since_first_audio_s: float | None
    since_last_audio_s: float | None
    tokens: int


def close_reason(session: ClosedSession) -> CloseReason:
    """The first rule that fits, in the order of `CloseReason`."""
    quiet_s = session.age_s if session.since_last_audio_s is None else session.since_last_audio_s
    first_s = session.since_first_audio_s
    if session.closed_by_us:
        return CloseReason.DONE
    if quiet_s >= IDLE_S:
        return CloseReason.IDLE
    # 1013 "try again later" is what a proxy that does use codes says.
    if session.code == 1013 or (session.code == 1000 and first_s is not None and first_s < CAPACITY_S and not session.tokens):
        return CloseReason.CAPACITY
    if session.age_s >= EXPIRY_S:
        return CloseReason.EXPIRED
    return CloseReason.RECONNECT


def close_error(reason: CloseReason) -> SttError:
    """The error that a stream ends with."""
    match reason:
        case CloseReason.CAPACITY:
            return SttAtCapacity(
                "Kyutai on Modal took the session and closed it at the first audio: its model server is full.",
                fix="Allow more containers, or more sessions in one.",
            )
        case CloseReason.IDLE:
            return SttExpired("Kyutai on Modal closed an idle session.")
        case CloseReason.EXPIRED:
            return SttExpired("The session on Modal reached its age limit.")
        case CloseReason.DONE | CloseReason.RECONNECT:
            return SttUnavailable(
                "The connection to Kyutai on Modal broke.", fix="If it happens often, look into the app's log on Modal."
            )
