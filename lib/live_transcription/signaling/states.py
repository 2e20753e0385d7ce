# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Where a signaling session stands, and how long it may stand there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. An attempt that times out once takes less than 6 s, so each room tries at least every 6 s.

    `patient_hello_s`: for a credential that may be wrong, since the HPB deliberately delays a refusal by up to 25 s.
    `resume_window_s`: how long a resume is worth trying. The HPB keeps a session for 30 s after it has noticed the drop.
    """

    welcome_s: float = 1.0
    hello_s: float = 3.5
    patient_hello_s: float = 30.0
    resume_s: float = 3.5
    join_s: float = 3.5
    resume_window_s: float = 90.0


class State(Enum):
    """`GREETING` waits for `welcome`, `AUTHORISING` for permission to say hello; `DROPPED` for its websocket to be closed."""

    DISCONNECTED = "disconnected"
    GREETING = "greeting"
    AUTHORISING = "authorising"
    HELLO = "hello"
    RESUMING = "resuming"
    JOINING = "joining"
    IN_ROOM = "in room"
    REMOVED = "removed"
    DROPPED = "dropped"
    FAILED = "failed"
    CLOSED = "closed"
