# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Faults of a speech-to-text server on demand: at the handshake, or in a session after so much audio."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    # At the handshake (and for `GET /health`).
    #: 401, as with a wrong key.
    UNAUTHORIZED = "unauthorized"
    #: 303 to the same address, as Modal answers when a container takes longer than 150 s.
    REDIRECT = "redirect"
    #: Another HTTP status: 429, 502, 503, 504, 404, … (`status`).
    STATUS = "status"
    #: The handshake hangs for `duration_s`, then continues.
    HANG = "hang"

    # In a session; `after_s` is the audio received until it strikes.
    #: The model has no free channel.
    FULL = "full"
    #: The model server is not there (Modal: the proxy lives, moshi-server does not).
    MODEL_DOWN = "model_down"
    #: The model's loop ends with an error, permanently for all sessions: the server answers and listens, but it transcribes
    #: nothing and frees no slot. An outage restarts it.
    MODEL_DIES = "model_dies"
    #: The server closes with 1000 and no reason.
    CLOSE = "close"
    #: The TCP connection is cut without a close frame.
    CUT = "cut"
    #: Audio is taken, nothing comes back, nothing is closed. Ends after `duration_s`; the buffered replies are sent then.
    STALL = "stall"
    #: The socket is not read any more, not even for pings, for `duration_s`.
    SLOW_READER = "slow_reader"
    #: Messages that are no messages: broken, of the wrong type, of absurd depth.
    GARBAGE = "garbage"
    #: One message of 10 MB.
    HUGE = "huge"
    #: Words and pauses with NaN and infinity where times and probabilities belong.
    NAN = "nan"
    #: Each word twice.
    DUPLICATE = "duplicate"
    #: Finals that contradict the words, pauses without words, times that run backwards.
    CONTRADICT = "contradict"


HANDSHAKE_FAULTS = frozenset({FaultKind.UNAUTHORIZED, FaultKind.REDIRECT, FaultKind.STATUS, FaultKind.HANG})


@dataclass(slots=True)
class Fault:
    """`times`: handshakes or sessions that it hits, None: until removed. `hits` counts them."""

    kind: FaultKind
    times: int | None = 1
    after_s: float = 0.0
    duration_s: float = 3600.0
    status: int = 503
    hits: int = 0


class Faults:
    """The active faults. A handshake takes the first of its kind, a session all of its kinds."""

    def __init__(self) -> None:
        self._active: list[Fault] = []

    @property
    def active(self) -> tuple[Fault, ...]:
        return tuple(self._active)

    def add(self, fault: Fault) -> Fault:
        self._active.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        if fault in self._active:
            self._active.remove(fault)

    def clear(self) -> None:
        self._active.clear()

    def take_handshake(self) -> Fault | None:
        for fault in self._active:
            if fault.kind in HANDSHAKE_FAULTS:
                self._hit(fault)
                return fault
        return None

    def take_session(self) -> SessionFaults:
        taken = [fault for fault in self._active if fault.kind not in HANDSHAKE_FAULTS]
        for fault in taken:
            self._hit(fault)
        return SessionFaults(taken)

    def _hit(self, fault: Fault) -> None:
        fault.hits += 1
        if fault.times is not None and fault.hits >= fault.times:
            self.remove(fault)


class SessionFaults:
    """The faults that one session has before it."""

    def __init__(self, faults: list[Fault]) -> None:
        self._left = sorted(faults, key=lambda fault: fault.after_s)
        self._struck: set[FaultKind] = set()

    def has(self, kind: FaultKind) -> bool:
        """Whether a fault of this kind lies ahead or has struck."""
        return kind in self._struck or any(fault.kind is kind for fault in self._left)

    def struck(self, kind: FaultKind) -> bool:
        return kind in self._struck

    def due(self, audio_s: float) -> list[Fault]:
        """The faults that become due after `audio_s` seconds of audio; each is returned once."""
        due = [fault for fault in self._left if fault.after_s <= audio_s]
        self._left = [fault for fault in self._left if fault.after_s > audio_s]
        self._struck.update(fault.kind for fault in due)
        return due
